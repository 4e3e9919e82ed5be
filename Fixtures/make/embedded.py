"""Writes what diffusers paints with the embedded model.

    python Fixtures/make/embedded.py

To be run again where Fixtures/models/spark has changed; a test says so. Fixtures/parity/spark holds outputs.safetensors
and outputs.json in the form of parity.py, with one case, and in `files` of outputs.json what they were made with: FNV-1a
of 64 bits, in hexadecimal, of every file of the model that diffusers reads.
"""

import argparse
from pathlib import Path

import diffusers
import torch
import transformers
from cases import Outputs, picture, relative_error
from parity import PARITY
from pictures import noise_in_float32, run_picture

SPARK = PARITY.parent / "models" / "spark"
# As run_picture takes it: one evaluation at strength 0.5, as a live picture has.
CALL = ("picture", 2, 0.5, 0, "an oil painting", 1)
SIZE = (256, 256)


def fnv(path):
    value = 0xCBF29CE484222325
    for byte in path.read_bytes():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def files():
    """Not the model's card and the pictures on it."""
    paths = [SPARK / "model_index.json", *sorted(SPARK.glob("*/*"))]
    return {path.relative_to(SPARK).as_posix(): fnv(path) for path in paths}


def paint(dtype):
    pipe = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(SPARK, torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    with noise_in_float32():
        return run_picture(pipe, CALL, SIZE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=PARITY, help="default: Fixtures/parity")
    outputs = Outputs(parser.parse_args().output / "spark", "StableDiffusionXLImg2ImgPipeline")
    torch.set_grad_enabled(False)
    # Sums then run in one order.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    diffusers.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    outputs.index["files"] = files()
    exact, rough, wide = (paint(dtype) for dtype in (torch.float32, torch.bfloat16, torch.float64))
    name, steps, strength, _, prompt, seed = CALL
    outputs.case(
        name, "picture", {"image": outputs.put(f"{name}.input", picture(*SIZE))},
        {"image": outputs.put(f"{name}.image", (exact["image"] * 255).round().to(torch.uint8))},
        prompt=prompt, seed=seed, width=SIZE[0], height=SIZE[1], steps=steps, strength=strength,
        evaluations=len(exact["timesteps"]), timesteps=exact["timesteps"],
        bf16_error={"image": relative_error(rough["image"], exact["image"])},
        bf16_max_error=float(f"{(rough['image'].float() - exact['image']).abs().max():.4g}"),
        f32_error={"image": relative_error(exact["image"], wide["image"])})
    outputs.write()


if __name__ == "__main__":
    main()
