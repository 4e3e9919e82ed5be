"""PyTorch on the weights of a folder that models.py wrote, and how long it takes: eager, and compiled.

    peers.py FOLDER RUNS

Prints a JSON object a line, as they come. Needs torch and diffusers; computes on the GPU where there is one.
"""

import json
import sys
import time
from pathlib import Path

import models
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WARM_UPS = 50


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


if __name__ == "__main__":
    times(Path(sys.argv[1]), int(sys.argv[2]))
