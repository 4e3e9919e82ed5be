"""PyTorch on the same weights: what is right, how far 16 bits stray from it, and how long it takes.

    peers.py parity FOLDER PARTS OUTPUT GPU_CHECK   our parts of a model (unet,encode,decode) beside float32
    peers.py time FOLDER RUNS                       eager and compiled

Both print a JSON object a line, as they come.

FOLDER is one that models.py wrote. Needs torch and diffusers; computes on the GPU where there is one.
"""

import json
import struct
import subprocess
import sys
import time
from pathlib import Path

import models
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WARM_UPS = 50
# What 16-bit arithmetic of ours may stray, in units of what PyTorch's does.
ALLOWED = 1.5


def load(folder, component, dtype, channels_last=False):
    config = json.loads((folder / component / "config.json").read_text())
    model = models.build(component, config, DEVICE).requires_grad_(False).eval()
    models.fill(model, component)
    model = model.to(dtype)
    return model.to(memory_format=torch.channels_last) if channels_last else model


def config(folder, component):
    return json.loads((folder / component / "config.json").read_text())


class Shapes:
    """Of a model's own size."""

    def __init__(self, folder):
        self.folder, unet, vae = folder, config(folder, "unet"), config(folder, "vae")
        levels = len(vae.get("block_out_channels") or vae["encoder_block_out_channels"])
        self.small = unet["sample_size"]
        self.side = self.small * 2 ** (levels - 1)
        self.channels = unet["in_channels"]
        self.is_xl = (folder / "text_encoder_2").is_dir()
        self.is_kl = vae["_class_name"] == "AutoencoderKL"
        self.is_wide = self.is_kl and self.is_xl and vae.get("force_upcast", True)
        width = unet["cross_attention_dim"]
        self.width = width[0] if isinstance(width, list) else width
        self.pooled = config(folder, "text_encoder_2")["projection_dim"] if self.is_xl else None

    def inputs(self, part):
        generator = torch.Generator().manual_seed(7)

        def normal(*shape):
            return torch.randn(shape, generator=generator)

        if part == "encode":
            return {"image": torch.rand((1, 3, self.side, self.side), generator=generator) * 2 - 1}
        latent = normal(1, self.channels, self.small, self.small)
        if part == "decode":
            return {"latent": latent}
        found = {"sample": latent, "timestep": torch.tensor([499.0]), "context": normal(1, 77, self.width)}
        if self.is_xl:
            found["text_embeds"] = normal(1, self.pooled)
            found["time_ids"] = torch.tensor([[512.0, 512, 0, 0, 512, 512]])
        return found


def call(model, part, inputs):
    """The result, and what comes out of each block."""
    found, hooks = {}, []
    first = next(model.parameters()).dtype
    given = {name: value.to(DEVICE, first) for name, value in inputs.items()}

    def keep(name):
        def hook(_module, _arguments, output):
            found[name] = (output[0] if isinstance(output, tuple) else output).float()

        return hook

    if part == "encode":
        result = model.encode(given["image"])
        found["moments"] = (result.latent_dist.parameters if hasattr(result, "latent_dist") else result.latents).float()
        return found
    if part == "decode":
        found["image"] = model.decode(given["latent"]).sample.float()
        return found
    blocks = [(f"down_blocks.{i}", block) for i, block in enumerate(model.down_blocks)]
    blocks += [("mid_block", model.mid_block)] + [(f"up_blocks.{i}", block) for i, block in enumerate(model.up_blocks)]
    for name, block in blocks:
        if block is not None:
            hooks.append(block.register_forward_hook(keep(name)))
    added = {key: given[key] for key in ("text_embeds", "time_ids") if key in given}
    sample = model(
        given["sample"], given["timestep"], given["context"], added_cond_kwargs=added or None, return_dict=False
    )[0]
    for hook in hooks:
        hook.remove()
    found["conv_out"] = sample.float()
    return found


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        end = offset + tensor.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.float().contiguous().numpy().tobytes())


def error(found, exact):
    return (torch.linalg.vector_norm(found - exact) / torch.linalg.vector_norm(exact)).item()


def parity(folder, part, output, program):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    output.mkdir(parents=True, exist_ok=True)
    shapes = Shapes(folder)
    inputs = shapes.inputs(part)
    write_safetensors(output / "inputs.safetensors", inputs)
    component = "unet" if part == "unet" else "vae"
    half = torch.bfloat16 if part != "unet" and shapes.is_wide else torch.float16
    with torch.inference_mode():
        model = load(folder, component, torch.float32)
        exact = call(model, part, inputs)
        model = model.to(half)
        rounded = call(model, part, inputs)
    del model
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
    command = [program, "part", str(folder), part, str(output / "inputs.safetensors"), str(output)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    report = json.loads(done.stdout)
    if "error" in report:
        return {"passed": False, "error": report["error"]}
    rows = {}
    for name, shape in report["outputs"].items():
        ours = torch.frombuffer(bytearray((output / f"{name}.f32").read_bytes()), dtype=torch.float32)
        ours = ours.reshape(shape).to(DEVICE)
        (output / f"{name}.f32").unlink()
        reference = exact[name][0].permute(1, 2, 0)
        peer = rounded[name][0].permute(1, 2, 0)
        rows[name] = {"ours": error(ours, reference), "pytorch": error(peer, reference)}
        rows[name]["cosine"] = torch.nn.functional.cosine_similarity(ours.flatten(), reference.flatten(), 0).item()
        rows[name]["passed"] = rows[name]["ours"] <= max(ALLOWED * rows[name]["pytorch"], 1e-5)
    (output / "inputs.safetensors").unlink()
    last = rows[list(rows)[-1]]
    return {
        "passed": done.returncode == 0 and bool(rows) and all(row["passed"] for row in rows.values()),
        "peer": str(half).removeprefix("torch."),
        "cosine": last["cosine"],
        "open_s": report["open_s"],
        "rows": rows,
    }


# Times


class Frame(torch.nn.Module):
    """Bytes to bytes, one step."""

    def __init__(self, unet, vae, shapes):
        super().__init__()
        self.unet, self.vae, self.is_kl, self.scale = unet, vae, shapes.is_kl, vae.config.scaling_factor

    def forward(self, picture, noise, timestep, context, text_embeds, time_ids):
        dtype = next(self.unet.parameters()).dtype
        wide = next(self.vae.parameters()).dtype
        x = picture.permute(2, 0, 1)[None].to(wide) * (2 / 255) - 1
        encoded = self.vae.encode(x)
        latent = (encoded.latent_dist.mean if self.is_kl else encoded.latents).to(dtype) * self.scale
        sigma = 2.0
        noisy = latent + sigma * noise
        added = None if text_embeds is None else {"text_embeds": text_embeds, "time_ids": time_ids}
        predicted = self.unet(
            noisy / (sigma**2 + 1) ** 0.5, timestep, context, added_cond_kwargs=added, return_dict=False
        )[0]
        x = self.vae.decode(((noisy - sigma * predicted) / self.scale).to(wide), return_dict=False)[0][0]
        return ((x / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()


def measure(body, runs):
    """Middle and 99th percentile, in ms: by events on the GPU, and by the host with a wait after each."""
    with torch.inference_mode():
        for _ in range(min(WARM_UPS, runs)):
            body()
        result = {"runs": runs}
        if DEVICE == "cuda":
            torch.cuda.synchronize()
            events = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]
            events[0].record()
            for event in events[1:]:
                body()
                event.record()
            torch.cuda.synchronize()
            times = sorted(a.elapsed_time(b) for a, b in zip(events, events[1:]))
            result |= {"gpu_ms": times[runs // 2], "gpu_p99_ms": times[int(runs * 0.99)]}
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            body()
            if DEVICE == "cuda":
                torch.cuda.synchronize()
            times.append((time.perf_counter() - start) * 1e3)
        times.sort()
        return result | {"host_ms": times[runs // 2], "host_p99_ms": times[int(runs * 0.99)]}


def tell(name, value):
    print(json.dumps({name: value}), flush=True)


def times(folder, runs):
    shapes = Shapes(folder)
    half = torch.float16 if DEVICE == "cuda" else torch.float32
    unet = load(folder, "unet", half, channels_last=True)
    vae = load(folder, "vae", torch.bfloat16 if shapes.is_wide else half, channels_last=True)
    given = {name: value.to(DEVICE, half) for name, value in shapes.inputs("unet").items()}
    picture = torch.randint(0, 256, (shapes.side, shapes.side, 3), dtype=torch.uint8)
    pinned = picture.pin_memory() if DEVICE == "cuda" else picture
    result = torch.empty_like(pinned, pin_memory=DEVICE == "cuda")
    frame = Frame(unet, vae, shapes)
    added = {key: given[key] for key in ("text_embeds", "time_ids") if key in given} or None

    def whole(module):
        def body():
            painted = module(
                pinned.to(DEVICE, non_blocking=True), given["sample"], given["timestep"], given["context"],
                given.get("text_embeds"), given.get("time_ids"),
            )
            result.copy_(painted, non_blocking=True)

        return body

    def part(module):
        return lambda: module(
            given["sample"], given["timestep"], given["context"], added_cond_kwargs=added, return_dict=False
        )

    tell("eager unet", measure(part(unet), runs))
    tell("eager frame", measure(whole(frame), runs))
    if DEVICE != "cuda":
        return
    # The whole frame is compiled as one; its UNet by itself would take as long again.
    start = time.perf_counter()
    compiled = torch.compile(frame, mode="max-autotune")
    with torch.inference_mode():
        whole(compiled)()
        torch.cuda.synchronize()
    tell("compile_s", time.perf_counter() - start)
    tell("compiled frame", measure(whole(compiled), runs))


def main():
    command, folder = sys.argv[1], Path(sys.argv[2])
    if command == "parity":
        passed = True
        for part in sys.argv[3].split(","):
            try:
                result = parity(folder, part, Path(sys.argv[4]), sys.argv[5])
            except Exception as failure:  # the other parts go on
                result = {"passed": False, "error": f"{type(failure).__name__}: {failure}"}
            passed = passed and result["passed"]
            tell(part, result)
        sys.exit(0 if passed else 1)
    times(folder, int(sys.argv[3]))


if __name__ == "__main__":
    main()
