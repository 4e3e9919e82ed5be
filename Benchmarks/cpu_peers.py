"""turbocam beside OpenVINO and PyTorch on this processor: the same networks, the same drawn weights, in turns.

    .venv/bin/pip install openvino
    .venv/bin/python Benchmarks/cpu_peers.py [--rounds 7] [--parts unet taesd ...] [--json FILE]

Parts are of 512x512 pictures: `unet` (SDXL-Turbo's), the same as `unet-f32` (as on processors without bf16; PyTorch
has no place beside the two others in 24 GB), `taesd` (the same network as TAESDXL) and `vae` (encoder and decoder
together), `sd-unet`. On a processor that is not quicker in bf16 all are of f32. A round has each engine once, its
time the middle of three runs, or that of the first if it takes more than four seconds; the table shows the middle of
the rounds, beside what turbocam's own operation counts allow at this machine's measured peak. With
ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 in the environment all three compute as on a processor without
AVX-512. Weights are drawn by rule on both sides (Tests/GPU/models.py and weights.json). turbocam's UNet computes keys
and values of the prompt when the prompt changes, the others at each run: 3% of the work.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
SIZES = ROOT / "Fixtures/sizes"
sys.path.insert(0, str(ROOT / "Tests/GPU"))
import models  # noqa: E402

# Part: folder of Fixtures/sizes[:another autoencoder there], component, element type in which it runs, stages of
# turbocam's bench, peers.
PARTS = {
    "unet": ("sdxl-turbo:taesdxl", "unet", "bf16", ["denoise"], ["OpenVINO", "PyTorch"]),
    "unet-f32": ("sdxl-turbo:taesdxl", "unet", "f32", ["denoise"], ["OpenVINO"]),
    "taesd": ("sd-turbo:taesd", "vae", "bf16", ["encode", "decode"], ["OpenVINO", "PyTorch"]),
    "vae": ("sdxl-turbo", "vae", "f32", ["encode", "decode"], ["OpenVINO", "PyTorch"]),
    "sd-unet": ("sd-turbo:taesd", "unet", "bf16", ["denoise"], ["OpenVINO", "PyTorch"]),
}
RUNS = 3
LONG = 4


class Encoder(torch.nn.Module):
    """The network alone, without the distribution that diffusers makes of what comes out."""

    def __init__(self, vae):
        super().__init__()
        self.encoder, self.quant = vae.encoder, getattr(vae, "quant_conv", None) or torch.nn.Identity()

    def forward(self, x):
        return self.quant(self.encoder(x))


class Decoder(torch.nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.decoder, self.quant = vae.decoder, getattr(vae, "post_quant_conv", None) or torch.nn.Identity()

    def forward(self, z):
        return self.decoder(self.quant(z))


class UNet(torch.nn.Module):
    def __init__(self, unet):
        super().__init__()
        self.unet, self.is_xl = unet, unet.config.addition_embed_type == "text_time"

    def forward(self, x, states, pooled, ids):
        added = {"text_embeds": pooled, "time_ids": ids} if self.is_xl else None
        return self.unet(x, torch.tensor(499), states, added_cond_kwargs=added, return_dict=False)[0]


def networks(folder, component):
    """Modules with drawn weights in f32, each with its inputs."""
    folder, _, vae = folder.partition(":")
    path = SIZES / vae if vae and component == "vae" else SIZES / folder / component
    config = json.loads((path / "config.json").read_text())
    dtype = models.DTYPES[json.loads((path / "weights.json").read_text())["dtype"]]
    model = models.fill(models.build(component, config, "cpu"), component, dtype).eval()
    if component == "vae":
        latent = torch.randn(1, config["latent_channels"], 64, 64)
        return [(Encoder(model), (torch.rand(1, 3, 512, 512) * 2 - 1,)), (Decoder(model), (latent,))]
    width = config["cross_attention_dim"]
    return [(UNet(model), (torch.randn(1, 4, 64, 64), torch.randn(1, 77, width), torch.randn(1, 1280), torch.zeros(1, 6)))]


def middle(run):
    """Seconds, the middle of RUNS, or those of the first if it takes LONG."""
    times = []
    while len(times) < RUNS and max(times, default=0) < LONG:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def with_openvino(module, inputs, element):
    import openvino

    hint = {"INFERENCE_PRECISION_HINT": element, "PERFORMANCE_HINT": "LATENCY"}
    with tempfile.TemporaryDirectory() as folder:  # from a file weights are mapped; converted ones would stay, in f32
        with torch.no_grad():
            openvino.save_model(openvino.convert_model(module, example_input=inputs), f"{folder}/model.xml")
        compiled = openvino.Core().compile_model(f"{folder}/model.xml", "CPU", hint)
    request = compiled.create_infer_request()
    arrays = [x.numpy() for x in inputs][: len(compiled.inputs)]
    return lambda: request.infer(arrays)


def with_torch(module, inputs, element):
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[element]
    module = module.to(dtype, memory_format=torch.channels_last)
    inputs = [x.to(dtype) for x in inputs]

    def run():
        with torch.inference_mode():
            module(*inputs)

    return run


def ours(turbocam, folder, component, element, stages):
    """Seconds of the stages, and of their floor. A UNet runs in bf16 wherever the processor may."""
    words = [turbocam, "bench", "--suite", "model", "--json", "--device", "cpu", "--size", "512x512"]
    folder, _, vae = folder.partition(":")
    words += ["--model", SIZES / folder] + (["--vae", SIZES / vae] if vae else [])
    limit = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"} if (component, element) == ("unet", "f32") else {}
    output = subprocess.run(words, env=limit | os.environ, check=True, stdout=subprocess.PIPE).stdout
    rows = [row for row in json.loads(output)["model"]["stages"] if row["stage"] in stages]
    return sum(row["ms"] for row in rows) / 1e3, sum(row["floor_ms"] for row in rows) / 1e3


def computes_bf16(turbocam):
    """Whether turbocam takes bf16 on this processor: some have it and are quicker in f32, the peers too."""
    words = [turbocam, "bench", "--suite", "model", "--json", "--device", "cpu", "--size", "64x64"]
    output = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return ", bf16 (" in json.loads(output)["machine"]["device"]


def compare(part, rounds, turbocam, halves):
    folder, component, element, stages, peers = PARTS["unet-f32" if part == "unet" and not halves else part]
    if not halves:
        element = "f32"
    engines = {}
    for name in peers:
        make = {"OpenVINO": with_openvino, "PyTorch": with_torch}[name]
        engines[name] = [make(module, inputs, element) for module, inputs in networks(folder, component)]
        gc.collect()
        for run in engines[name]:
            run()
    times = {name: [] for name in ("turbocam", "floor", *engines)}
    for number in range(rounds):
        for name, runs in engines.items():
            times[name].append(sum(middle(run) for run in runs))
        mine, floor = ours(turbocam, folder, component, element, stages)
        times["turbocam"].append(mine)
        times["floor"].append(floor)
        print(f"{part}, round {number + 1}: " + ", ".join(f"{n} {t[-1]:.3f} s" for n, t in times.items()), file=sys.stderr)
    return {name: round(statistics.median(values), 4) for name, values in times.items()} | {"element": element}


def table(results):
    lines = ["| | turbocam s | OpenVINO s | PyTorch s | of OpenVINO | of the floor |", "|---|--:|--:|--:|--:|--:|"]
    for part, found in results.items():
        mine, torch_s = found["turbocam"], f"{found['PyTorch']:.3f}" if "PyTorch" in found else "–"
        lines.append(
            f"| {part} ({found['element']}) | {mine:.3f} | {found['OpenVINO']:.3f} | {torch_s} "
            f"| {mine / found['OpenVINO']:.2f} | {mine / found['floor']:.2f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turbocam", default=ROOT / ".build/release/turbocam")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    halves = computes_bf16(options.turbocam)
    results = {part: compare(part, options.rounds, options.turbocam, halves) for part in options.parts}
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
