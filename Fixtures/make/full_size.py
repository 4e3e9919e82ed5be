"""Writes a random-weight pipeline of SDXL-Turbo's or SD-Turbo's real size, tensor by tensor.

    python Fixtures/make/full_size.py --layout sdxl --output /tmp/sdxl-random

For measuring memory and time only. 16-bit files take 7 GB (sdxl) or 2.6 GB (sd-turbo) of disk; no
more than a few tensors are in memory at a time.
"""

import argparse
import json
import struct
import zlib
from pathlib import Path

import bpe
import diffusers
import torch
import transformers
from configurations import SCALED_LINEAR
from pipelines import build_scheduler, scaled, vae_overrides

DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
NAMES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
VOCABULARY = 49408

SPECIAL = {"vocab_size": VOCABULARY, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 1}

VAE = {
    "class": diffusers.AutoencoderKL,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
    "picture_gain": 1.0,
}

LAYOUTS = {
    "sdxl": {
        "pipeline": "StableDiffusionXLPipeline",
        "tokenizers": {"tokenizer": bpe.EOS, "tokenizer_2": "!"},
        "text_encoders": {
            "text_encoder": {
                "class": transformers.CLIPTextModel,
                "hidden_act": "quick_gelu",
                "hidden_size": 768,
                "intermediate_size": 3072,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "projection_dim": 768,
            },
            "text_encoder_2": {
                "class": transformers.CLIPTextModelWithProjection,
                "hidden_act": "gelu",
                "hidden_size": 1280,
                "intermediate_size": 5120,
                "num_hidden_layers": 32,
                "num_attention_heads": 20,
                "projection_dim": 1280,
            },
        },
        "unet": {
            "sample_size": 64,
            "block_out_channels": [320, 640, 1280],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "transformer_layers_per_block": [1, 2, 10],
            "attention_head_dim": [5, 10, 20],
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        "vae": {**VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
        "scheduler": {
            "class": diffusers.EulerAncestralDiscreteScheduler,
            **SCALED_LINEAR,
            "prediction_type": "epsilon",
            "timestep_spacing": "trailing",
            "steps_offset": 1,
        },
    },
    "sd-turbo": {
        "pipeline": "StableDiffusionPipeline",
        "tokenizers": {"tokenizer": "!"},
        "text_encoders": {
            "text_encoder": {
                "class": transformers.CLIPTextModel,
                "hidden_act": "gelu",
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_hidden_layers": 23,
                "num_attention_heads": 16,
                "projection_dim": 512,
            }
        },
        "unet": {
            "sample_size": 64,
            "block_out_channels": [320, 640, 1280, 1280],
            "attention_head_dim": [5, 10, 20, 20],
            "cross_attention_dim": 1024,
            "use_linear_projection": True,
        },
        "vae": {**VAE, "sample_size": 768, "scaling_factor": 0.18215},
        "scheduler": {
            "class": diffusers.EulerDiscreteScheduler,
            **SCALED_LINEAR,
            "prediction_type": "epsilon",
            "timestep_spacing": "trailing",
            "steps_offset": 1,
        },
    },
}


def write_tensors(path, model, seed, dtype, overrides=(), rename=lambda name: name):
    """Writes every parameter of a model on the meta device, drawn one by one.

    The file format is 8 bytes of header length, the JSON header, and the tensors end to end.
    """
    modules = dict(model.named_modules())
    parameters = sorted(model.named_parameters(), key=lambda pair: rename(pair[0]))
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in parameters:
        end = offset + tensor.numel() * dtype.itemsize
        header[rename(name)] = {
            "dtype": NAMES[dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in parameters:
            values = draw(name, tensor.shape, modules, seed, overrides).to(dtype).contiguous()
            file.write(memoryview(values.view(torch.uint8).reshape(-1).numpy()))
    print(f"{path}: {offset / 1e9:.2f} GB")


def draw(name, shape, modules, seed, overrides):
    owner, _, kind = name.rpartition(".")
    generator = torch.Generator().manual_seed(seed * 2**32 + zlib.crc32(name.encode()))
    values = scaled(torch.randn(shape, generator=generator), modules[owner], name, kind)
    for pattern, change in overrides:
        if pattern in name:
            values = change(values)
    return values


def write_tokenizer(folder, pad_token):
    """CLIP's vocabulary size; the merges beyond the small BPE's are pairs that no text has."""
    merges = bpe.train(400)
    known = set(bpe.vocabulary(merges))
    characters = list(bpe.byte_alphabet().values())
    for first in reversed(characters):
        for last in reversed(characters):
            if len(merges) == VOCABULARY - 2 * 256 - 2:
                break
            if first + last + "</w>" not in known:
                merges.append((first, last + "</w>"))
    assert len(bpe.vocabulary(merges)) == VOCABULARY
    bpe.write_slow_files(folder, merges, pad_token, 77)


def write_text_encoder(folder, settings, seed, dtype, file_name):
    arguments = dict(settings)
    model_class = arguments.pop("class")
    config = transformers.CLIPTextConfig(max_position_embeddings=77, **SPECIAL, **arguments)
    with torch.device("meta"):
        model = model_class(config)
    folder.mkdir(parents=True)
    values = config.to_dict() | {"architectures": [model_class.__name__]}
    bpe.write_json(folder / "config.json", {key: value for key, value in values.items() if value is not None})

    def prefixed(name):
        bare = name.removeprefix("text_model.")
        return bare if bare.startswith("text_projection") else "text_model." + bare

    write_tensors(folder / file_name, model, seed, dtype, rename=prefixed)


def write_model(folder, model_class, arguments, seed, dtype, file_name, overrides=()):
    with torch.device("meta"):
        model = model_class(**arguments)
    folder.mkdir(parents=True)
    model.save_config(folder)
    write_tensors(folder / file_name, model, seed, dtype, overrides)


def write_index(folder, layout):
    index = {"_class_name": layout["pipeline"], "_diffusers_version": diffusers.__version__}
    index["scheduler"] = ["diffusers", layout["scheduler"]["class"].__name__]
    for key, encoder in layout["text_encoders"].items():
        index[key] = ["transformers", encoder["class"].__name__]
    for key in layout["tokenizers"]:
        index[key] = ["transformers", "CLIPTokenizer"]
    index["unet"] = ["diffusers", "UNet2DConditionModel"]
    index["vae"] = ["diffusers", "AutoencoderKL"]
    if layout["pipeline"] == "StableDiffusionXLPipeline":
        index["force_zeros_for_empty_prompt"] = True
    else:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        index["requires_safety_checker"] = False
    bpe.write_json(folder / "model_index.json", index)


def main():
    parser = argparse.ArgumentParser(description="Writes a full-size pipeline of random weights.")
    parser.add_argument("--layout", choices=LAYOUTS, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--dtype", choices=DTYPES, default="f16")
    options = parser.parse_args()
    layout, dtype, folder = LAYOUTS[options.layout], DTYPES[options.dtype], options.output
    torch.set_grad_enabled(False)
    folder.mkdir(parents=True)
    # Half-precision repositories name their files with the variant.
    ending = "fp16.safetensors" if dtype == torch.float16 else "safetensors"
    diffusers_file, transformers_file = f"diffusion_pytorch_model.{ending}", f"model.{ending}"
    build_scheduler(layout["scheduler"]).save_config(folder / "scheduler")
    for key, pad_token in layout["tokenizers"].items():
        write_tokenizer(folder / key, pad_token)
    for seed, (key, encoder) in enumerate(layout["text_encoders"].items(), start=2):
        write_text_encoder(folder / key, encoder, seed, dtype, transformers_file)
    vae = {key: value for key, value in layout["vae"].items() if key not in ("class", "picture_gain")}
    overrides = vae_overrides(layout["vae"])
    write_model(folder / "vae", layout["vae"]["class"], vae, 1, dtype, diffusers_file, overrides)
    unet = diffusers.UNet2DConditionModel
    write_model(folder / "unet", unet, layout["unet"], 4, dtype, diffusers_file)
    write_index(folder, layout)


if __name__ == "__main__":
    main()
