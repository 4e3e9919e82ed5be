"""Models of full size without weights: published configurations, and weights.json in place of files.

    python Tests/GPU/models.py FOLDER sdxl=sdxl-turbo:taesdxl sd=sd-turbo:taesd

Weights are drawn by counting, on both sides alike: `draw` is what Sources/Diffusion/Files/GeneratedTensors.swift
says. Nothing of full size is stored or carried.
"""

import argparse
import json
import math
import shutil
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
PARITY = ROOT / "Fixtures/parity"
DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
# Components of a pipeline, each drawn with a seed of its own.
SEEDS = {"vae": 1, "text_encoder": 2, "text_encoder_2": 3, "unet": 4}
# Numbers at a time: large tensors are drawn in parts.
PART = 1 << 24


def wrap(number):
    """The 64-bit integer as torch writes it, with a sign."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def shift(x, bits):
    """Without the sign, that torch would shift in."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def fnv(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def uniform(start, count, device):
    """`count` numbers in [-1, 1) from SplitMix64, f32."""
    golden = 0x9E3779B97F4A7C15
    z = torch.arange(count, dtype=torch.int64, device=device) + wrap(start + 1)
    z *= wrap(golden)
    z = (z ^ shift(z, 30)) * wrap(0xBF58476D1CE4E5B9)
    z = (z ^ shift(z, 27)) * wrap(0x94D049BB133111EB)
    z ^= shift(z, 31)
    return shift(z, 40).float() * 2.0**-23 - 1


def draw(name, shape, seed, dtype=torch.float16, device="cpu"):
    count = math.prod(shape)
    if len(shape) >= 2:
        offset, scale = 0.0, torch.tensor(math.sqrt(3 / math.prod(shape[1:])), dtype=torch.float32)
    else:
        offset, scale = float(name.endswith(".weight")), torch.tensor(0.1, dtype=torch.float32)
    scale = scale.to(device)
    start = fnv(name) + seed * 0x9E3779B97F4A7C15
    values = torch.empty(count, dtype=dtype, device=device)
    for first in range(0, count, PART):
        part = min(PART, count - first)
        values[first : first + part] = (offset + scale * uniform(start + first, part, device)).to(dtype)
    return values.reshape(shape)


def fill(model, component, dtype=torch.float16):
    """Gives a model the weights of `dtype`, in the type that its parameters have."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(draw(name, tuple(tensor.shape), SEEDS[component], dtype, tensor.device))
    return model


def checkpoint_name(component, name):
    """Newer transformers leave the prefix out that checkpoints have."""
    if not component.startswith("text"):
        return name
    bare = name.removeprefix("text_model.")
    return bare if bare.startswith("text_projection") else "text_model." + bare


def published(module, name):
    entries = json.loads((PARITY / "published.json").read_text())["entries"]
    return next(entry["config"] for entry in entries if entry["module"] == module and entry["name"] == name)


def build(component, config, device="meta"):
    """An empty model of diffusers or transformers."""
    import diffusers
    import transformers

    with torch.device(device):
        if component.startswith("text"):
            model_class = getattr(transformers, config["architectures"][0])
            return model_class(transformers.CLIPTextConfig(**config))
        return getattr(diffusers, config["_class_name"]).from_config(config)


def configs(name, vae):
    """The components of a pipeline with their configurations; small ones have a folder of that name."""
    if (PARITY / name).is_dir():
        files = {path.parent.name: path for path in (PARITY / name).glob("*/config.json")}
        return {component: json.loads(file.read_text()) for component, file in files.items()}
    found = {"unet": published("unet", name), "vae": published("vae", vae or name)}
    found["text_encoder"] = published("text_encoder", name)
    if name.startswith("sdxl"):
        found["text_encoder_2"] = published("text_encoder", name + "-2")
    return found


def write_component(folder, component, config, dtype="F16"):
    tensors = {
        checkpoint_name(component, key): list(value.shape)
        for key, value in build(component, config).named_parameters()
    }
    rule = {"generator": "splitmix64", "seed": SEEDS[component], "dtype": dtype, "tensors": tensors}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "weights.json").write_text(json.dumps(rule))


def write_folder(folder, name, vae=None, dtype="F16"):
    """A folder in the layout of diffusers with rules for weights; small tokenizers, whose tokens all models know."""
    small = PARITY / name if (PARITY / name).is_dir() else PARITY / ("sdxl-tiny" if "xl" in name else "sd-tiny")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for tokenizer in small.glob("tokenizer*"):
        shutil.copytree(tokenizer, folder / tokenizer.name)
    parts = configs(name, vae)
    index = json.loads((small / "model_index.json").read_text())
    index["vae"] = ["diffusers", parts["vae"]["_class_name"]]
    (folder / "scheduler").mkdir()
    if small.name == name:
        schedule = json.loads((small / "scheduler/scheduler_config.json").read_text())
    else:
        schedule = published("scheduler", name)
        index["scheduler"] = ["diffusers", schedule["_class_name"]]
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(schedule))
    (folder / "model_index.json").write_text(json.dumps(index))
    for component, config in parts.items():
        (folder / component).mkdir()
        write_component(folder / component, component, config, dtype)


def main():
    parser = argparse.ArgumentParser(description="Writes model folders of full size without weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "models", nargs="+", metavar="NAME=MODEL[:VAE]",
        help="MODEL: sdxl-turbo, sd-turbo, or a folder of Fixtures/parity; VAE: taesdxl, taesd",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="F16")
    options = parser.parse_args()
    for entry in options.models:
        name, _, rest = entry.partition("=")
        model, _, vae = rest.partition(":")
        write_folder(options.folder / name, model, vae or None, options.dtype)


if __name__ == "__main__":
    main()
