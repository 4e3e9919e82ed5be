"""Writes the tiny pipelines of parity.py as single files, under the names of the code that SDXL and SD 2 were trained with.

    python Fixtures/make/single.py

Fixtures/parity/single/sdxl-tiny.safetensors and sd-tiny.safetensors; the latter has no autoencoder, since that of sd-tiny
is an AutoencoderTiny, for which that code has no names. In half precision. Each file is read by
diffusers' from_single_file with the folder as its configuration, and must give the folder's weights, bit for bit.
sdxl-turbo.header and sd-turbo.header are how files of full size begin: all that comes before the numbers.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from configurations import PIPELINES
from parity import PARITY
from pipelines import load
from safetensors.torch import save_file

ROOT = PARITY.parent.parent
sys.path.insert(0, str(ROOT / "Tests/GPU"))
import models  # noqa: E402

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
ENDS = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
        "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj", "self_attn.in_proj": "attn.in_proj"}


def unet(tensors, config):
    """Blocks are numbered through: a ResNet block with its transformer is one, and so is a convolution that halves."""
    depth, levels = config.layers_per_block, len(config.block_out_channels)
    attended = {k for k, kind in enumerate(config.up_block_types) if kind.startswith("CrossAttn")}

    def rename(name):
        layer, _, leaf = name.rpartition(".")
        if layer in ENDS:
            return f"{ENDS[layer]}.{leaf}"
        way, *words = layer.split(".")
        if way == "mid_block":
            kind, number, *rest = words
            rest = ".".join(rest)
            if kind == "attentions":
                return f"middle_block.{2 * int(number) + 1}.{rest}.{leaf}"
            return f"middle_block.{2 * int(number)}.{RESNET[rest]}.{leaf}"
        block, kind, number, *rest = words
        block, number, rest = int(block), int(number), ".".join(rest)
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * (depth + 1)}.0.op.{leaf}"
        if kind == "upsamplers":
            return f"output_blocks.{block * (depth + 1) + depth}.{2 if block in attended else 1}.conv.{leaf}"
        place = f"input_blocks.{1 + block * (depth + 1) + number}" if way == "down_blocks" else \
            f"output_blocks.{block * (depth + 1) + number}"
        return f"{place}.1.{rest}.{leaf}" if kind == "attentions" else f"{place}.0.{RESNET[rest]}.{leaf}"

    assert levels == len(config.up_block_types)
    return {f"model.diffusion_model.{rename(name)}": x for name, x in tensors.items()}


def autoencoder(tensors, config):
    """The decoder's levels are numbered from the picture's resolution down."""
    levels, found = len(config.block_out_channels), {}
    for name, x in tensors.items():
        layer, _, leaf = name.rpartition(".")
        layer = re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}", layer).replace("down_blocks", "down")
        layer = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", layer)
        layer = layer.replace("resnets", "block").replace("conv_shortcut", "nin_shortcut")
        layer = layer.replace("downsamplers.0", "downsample").replace("upsamplers.0", "upsample")
        layer = layer.replace("conv_norm_out", "norm_out")
        side, _, part = layer.partition(".mid_block.attentions.0.")
        if part:
            layer = f"{side}.mid.attn_1.{ATTENTION[part]}"
            x = x[:, :, None, None] if x.ndim == 2 else x
        found[f"first_stage_model.{layer}.{leaf}"] = x
    return found


def bare(tensors):
    return {name.removeprefix("text_model."): x for name, x in tensors.items()}


def open_clip(tensors, start):
    found, projections = {}, {}
    for name, x in bare(tensors).items():
        match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
        if not match:
            known = {"embeddings.token_embedding.weight": "token_embedding.weight", "text_projection.weight": "text_projection",
                     "embeddings.position_embedding.weight": "positional_embedding", "final_layer_norm.weight": "ln_final.weight",
                     "final_layer_norm.bias": "ln_final.bias"}
            found[start + known[name]] = x.T if name == "text_projection.weight" else x
            continue
        block, layer, leaf = match.groups()
        place = f"{start}transformer.resblocks.{block}."
        if layer.startswith("self_attn.") and layer != "self_attn.out_proj":
            projections.setdefault(f"{place}attn.in_proj_{leaf}", {})[layer[len("self_attn.")]] = x
        else:
            found[f"{place}{CLIP[layer]}.{leaf}"] = x
    return found | {name: torch.cat([parts[k] for k in "qkv"]) for name, parts in projections.items()}


def single(pipe, start="cond_stage_model.model."):
    """The weights of a pipeline, as the original code's checkpoint has them, with some of what nobody reads. A text
    encoder that is the only one has names that begin with `start`."""
    tensors = unet(pipe.unet.state_dict(), pipe.unet.config)
    if hasattr(pipe.vae, "quant_conv"):
        tensors |= autoencoder(pipe.vae.state_dict(), pipe.vae.config)
    text = pipe.text_encoder.state_dict()
    if hasattr(pipe, "text_encoder_2"):
        start = "conditioner.embedders.0.transformer.text_model."
        tensors |= {start + name: x for name, x in bare(text).items()}
        tensors |= open_clip(pipe.text_encoder_2.state_dict(), "conditioner.embedders.1.model.")
        tensors["conditioner.embedders.1.model.logit_scale"] = torch.tensor(4.6)
    else:
        tensors |= open_clip(text, start)
        # SD 2 does without the last of OpenCLIP's blocks, which its files have.
        last = pipe.text_encoder.config.num_hidden_layers
        tensors |= {name.replace(f".{last - 1}.", f".{last}."): torch.zeros_like(x) for name, x in tensors.items()
                    if f"resblocks.{last - 1}." in name}
    return tensors | {"alphas_cumprod": torch.linspace(1, 0, 10)}


def check(path, pipe, folder):
    """diffusers' own reader must make the same of the file."""
    with tempfile.TemporaryDirectory() as place:
        kept = {} if hasattr(pipe.vae, "quant_conv") else {"vae": pipe.vae}
        again = type(pipe).from_single_file(str(path), config=str(folder), local_files_only=True, cache_dir=place,
                                            dtype=pipe.unet.dtype, **kept)
    for component in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if not hasattr(pipe, component):
            continue
        wanted, found = (getattr(p, component).state_dict() for p in (pipe, again))
        assert wanted.keys() == found.keys(), (component, wanted.keys() ^ found.keys())
        for name, x in wanted.items():
            assert torch.equal(x, found[name]), (component, name)


def header(name):
    """The length and the JSON of a file of full size, as the format has them."""
    folder = ROOT / "Fixtures/sizes" / name
    parts = {file.parent.name: models.build(file.parent.name, json.loads(file.read_text())) for file in folder.glob("*/config.json")}
    entries, end = {}, 0
    # SD-Turbo was trained with SDXL's code.
    for key, x in single(SimpleNamespace(**parts), "conditioner.embedders.0.model.").items():
        entries[key] = {"dtype": "F16", "shape": list(x.shape), "data_offsets": [end, end + 2 * x.numel()]}
        end += 2 * x.numel()
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    print(name, len(entries), "tensors,", end, "bytes")
    return len(text).to_bytes(8, "little") + text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=PARITY)
    folder = parser.parse_args().output / "single"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("sdxl-tiny", "sd-tiny"):
        settings = PIPELINES[name]
        pipe = load(PARITY / name, settings).to(torch.float16)
        path = folder / f"{name}.safetensors"
        save_file({key: x.half().contiguous().clone() for key, x in single(pipe).items()}, path)
        path.chmod(0o644)
        check(path, pipe, PARITY / name)
        print(name, path.stat().st_size, "bytes")
    for name in ("sdxl-turbo", "sd-turbo"):
        (folder / f"{name}.header").write_bytes(header(name))


if __name__ == "__main__":
    main()
