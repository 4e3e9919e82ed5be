"""Writes the trained model as a diffusers folder of half-precision safetensors."""

import json
import os
import shutil

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

import diffusion
import text
import words


def export(vae, unet, encoders, vocabulary, folder):
    """Replaces the model's parts in `folder`; other files there (model card, contact sheet) stay. The parts given are
    changed on the way."""
    first, second = text.tokenizers(vocabulary)
    text.lend_letters(encoders, (first, second))
    pipe = StableDiffusionXLPipeline(
        vae=vae, text_encoder=encoders[0], text_encoder_2=encoders[1], tokenizer=first, tokenizer_2=second,
        unet=unet, scheduler=diffusion.scheduler(), force_zeros_for_empty_prompt=True, add_watermarker=False)
    fresh = folder.rstrip("/") + ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    pipe.to(torch.float16).save_pretrained(fresh)
    for name in ("tokenizer", "tokenizer_2"):
        plain_tokenizer(vocabulary, os.path.join(fresh, name))
    for name in ("text_encoder", "text_encoder_2"):
        published_names(os.path.join(fresh, name, "model.safetensors"))
    write_styles(fresh)
    for root, _, names in os.walk(fresh):
        for name in names:
            os.chmod(os.path.join(root, name), 0o644)
            if name.endswith(".json") and name != "vocab.json":
                tidy(os.path.join(root, name))
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(fresh):
        target = os.path.join(folder, name)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(os.path.join(fresh, name), target)
    os.rmdir(fresh)


def plain_tokenizer(vocabulary, folder):
    """vocab.json and merges.txt, as published models have them, in the place of one version's tokenizer.json."""
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(os.path.join(vocabulary, name), os.path.join(folder, name))
    os.remove(os.path.join(folder, "tokenizer.json"))


def write_styles(folder):
    """styles.json, which diffusers reads over: what turbocam offers, and tells of words that the model has not learnt."""
    with open(os.path.join(folder, "styles.json"), "w", encoding="utf-8") as f:
        json.dump(words.listed(), f, indent=2, ensure_ascii=False)
        f.write("\n")


def published_names(path):
    """Weights under `text_model.`, as every published CLIP folder has them; transformers 5 leaves that out."""
    weights = load_file(path)
    outside = ("text_model.", "text_projection.")
    save_file({k if k.startswith(outside) else "text_model." + k: v for k, v in weights.items()}, path, {"format": "pt"})


def tidy(path):
    """Drops the paths of the machine that trained the model, and lets CLIP compute in single precision as diffusers'
    parts do where nobody asks for another: transformers otherwise takes the type of the file."""
    with open(path, encoding="utf-8") as f:
        values = json.load(f)
    values.pop("_name_or_path", None)
    if "dtype" in values:
        values["dtype"] = "float32"
    with open(path, "w", encoding="utf-8") as f:
        json.dump(values, f, indent=2, ensure_ascii=False)
        f.write("\n")
