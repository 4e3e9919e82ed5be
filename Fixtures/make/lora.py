"""Writes LoRA files for the tiny pipelines of parity.py and the pictures that diffusers paints with them.

    python Fixtures/make/lora.py

Fixtures/parity/lora holds, beside outputs.safetensors and outputs.json in the form of parity.py:

sd-tiny.safetensors    as diffusers saves them with PEFT: UNet and text encoder, linear layers and convolutions, alpha in
                       the file's metadata
sdxl-tiny.safetensors  as kohya's trainer saves them: the UNet's attention under the names of SDXL's first release, both
                       text encoders, alphas beside the factors. The first encoder's layers lack the `text_model_` that such
                       files have: transformers 5 knows them without it, and diffusers does not find them with it

A case's `name` is the folder, `scale` what the file was loaded with; `plain` is the picture without it.
"""

import argparse
import re
import shutil
import tempfile
from pathlib import Path

import diffusers
import torch
from cases import Outputs, picture
from configurations import PIPELINES
from parity import PARITY
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from pictures import run_picture, without_checker
from pipelines import load
from safetensors.torch import load_file, save_file

CALL = ("lora", 4, 0.5, 0, "a photo of a cat", 5)
SCALE = 0.8
RANK, ALPHA = 3, 2
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
RESNETS = ["conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in",
           "linear_1"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def pipeline(folder):
    settings = PIPELINES[folder.name]
    parts = load(folder, settings).components
    pipe = settings["image_to_image"](**parts, **without_checker(settings))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def factors(model, targets, seed):
    """Drawn factors of the model's layers, in PEFT's names."""
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets)
    model.add_adapter(config)
    tensors = get_peft_model_state_dict(model)
    generator = torch.Generator().manual_seed(seed)
    for name in sorted(tensors):
        noise = torch.randn(tensors[name].shape, generator=generator)
        tensors[name] = 0.6 * noise / noise[0].numel() ** 0.5
    # It would name a folder of this machine.
    return tensors, config.to_dict() | {"base_model_name_or_path": None}


def save_peft(folder, path):
    """By the pipeline's own call."""
    pipe = pipeline(folder)
    unet, config = factors(pipe.unet, ATTENTION + RESNETS, 1)
    text, text_config = factors(pipe.text_encoder, TEXT, 2)
    with tempfile.TemporaryDirectory() as place:
        kind = getattr(diffusers, PIPELINES[folder.name]["pipeline"].__name__)
        kind.save_lora_weights(place, unet_lora_layers=unet, text_encoder_lora_layers=text,
                               unet_lora_adapter_metadata=config, text_encoder_lora_adapter_metadata=text_config)
        shutil.copy(next(Path(place).iterdir()), path)


def original(name, depth):
    """A transformer's name in SDXL's first release; `depth` is the number of ResNet blocks of a block on the way down."""
    def down(match):
        return f"input_blocks.{1 + int(match[1]) * (depth + 1) + int(match[2])}.1."

    def up(match):
        return f"output_blocks.{int(match[1]) * (depth + 1) + int(match[2])}.1."

    name = re.sub(r"^down_blocks\.(\d+)\.attentions\.(\d+)\.", down, name)
    name = re.sub(r"^up_blocks\.(\d+)\.attentions\.(\d+)\.", up, name)
    return name.replace("mid_block.attentions.0.", "middle_block.1.")


def save_kohya(folder, path):
    pipe = pipeline(folder)
    depth = pipe.unet.config.layers_per_block
    tensors = {}
    for prefix, model, targets, seed in (("lora_unet", pipe.unet, ATTENTION, 3), ("lora_te1", pipe.text_encoder, TEXT, 4),
                                         ("lora_te2", pipe.text_encoder_2, TEXT, 5)):
        for name, x in factors(model, targets, seed)[0].items():
            layer, _, kind = name.removesuffix(".weight").rpartition(".")
            layer = original(layer, depth) if prefix == "lora_unet" else layer
            place = f"{prefix}_{layer.replace('.', '_')}"
            tensors[f"{place}.{'lora_down' if kind == 'lora_A' else 'lora_up'}.weight"] = x.half().contiguous()
            tensors[f"{place}.alpha"] = torch.tensor(float(ALPHA), dtype=torch.float16)
    save_file(tensors, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=PARITY)
    folder = parser.parse_args().output / "lora"
    folder.mkdir(parents=True, exist_ok=True)
    outputs = Outputs(folder, "LoRA")
    for name, save in (("sd-tiny", save_peft), ("sdxl-tiny", save_kohya)):
        path = folder / f"{name}.safetensors"
        save(PARITY / name, path)
        path.chmod(0o644)
        assert load_file(path)
        width, height = size = PIPELINES[name]["pictures"][0]
        image = outputs.put(f"{name}.input", picture(width, height))
        plain = run_picture(pipeline(PARITY / name), CALL, size)["image"]
        pipe = pipeline(PARITY / name)
        pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name="drawn")
        pipe.set_adapters("drawn", SCALE)
        run = run_picture(pipe, CALL, size)
        images = {"plain": plain, "image": run["image"]}
        print(name, "changes", float((run["image"] - plain).abs().mean() * 255), "of 255")
        outputs.case(
            name, "picture", {"image": image},
            {role: outputs.put(f"{name}.{role}", (x * 255).round().to(torch.uint8)) for role, x in images.items()},
            prompt=CALL[4], seed=CALL[5], width=width, height=height, steps=CALL[1], strength=CALL[2],
            evaluations=len(run["timesteps"]), scale=SCALE)
    outputs.write()


if __name__ == "__main__":
    main()
