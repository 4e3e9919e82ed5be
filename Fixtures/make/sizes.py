"""Writes Fixtures/sizes: published models as far as they can be had without their weights.

    pip install --no-deps open_clip_torch==3.3.0
    python Fixtures/make/sizes.py [--output DIR]

sdxl-turbo, sd-turbo   folders in the layout of diffusers, complete but for weights, in whose place are rules
                       (weights.json, Sources/Diffusion/Files/GeneratedTensors.swift). They are what single-file
                       checkpoints are read with, and whose time and memory benchmarks tell
taesd, taesdxl         autoencoders that stand in the place of theirs
clip                   the vocabulary that all of CLIP's text encoders have, from open_clip's package, which has
                       OpenAI's; tokenizers link to it. tokens.json, beside parity.py's prompts, is what
                       transformers makes of them
"""

import argparse
import gzip
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import bpe
from transformers import CLIPTokenizer

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "Tests/GPU"))
import models  # noqa: E402

# Bytes, bytes at a word's end, merges and two special tokens.
VOCABULARY = 49408
LENGTH = 77
PADS = {"sdxl-turbo": {"tokenizer": bpe.EOS, "tokenizer_2": "!"}, "sd-turbo": {"tokenizer": "!"}}


def merges():
    """CLIP's, in order: what its file has after them was never used."""
    (folder,) = importlib.util.find_spec("open_clip").submodule_search_locations
    lines = gzip.open(Path(folder) / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8").read().split("\n")
    count = VOCABULARY - 2 * 256 - 2
    return [tuple(line.split()) for line in lines[1 : 1 + count]]


def write_tokenizers(root, pairs):
    """One folder with the vocabulary, tokenizers that link to it."""
    clip = root / "clip"
    for model, pads in PADS.items():
        for name, pad in pads.items():
            folder = root / model / name
            shutil.rmtree(folder, ignore_errors=True)
            bpe.write_slow_files(folder, pairs, pad, LENGTH)
            clip.mkdir(exist_ok=True)
            for file in ("vocab.json", "merges.txt"):
                (folder / file).replace(clip / file)
                (folder / file).symlink_to(f"../../clip/{file}")


def write_tokens(root):
    """What transformers makes of the prompts, padded as each tokenizer does."""
    tokens = {}
    for model, pads in PADS.items():
        for name in pads:
            tokenizer = CLIPTokenizer.from_pretrained(root / model / name)
            asked = tokenizer(bpe.PROMPTS, padding="max_length", truncation=True, max_length=LENGTH)
            tokens[f"{model}/{name}"] = asked["input_ids"]
    lines = json.dumps({"prompts": bpe.PROMPTS, "tokens": tokens}).replace("], [", "],\n[")
    (root / "clip/tokens.json").write_text(lines + "\n")


def main():
    parser = argparse.ArgumentParser(description="Writes Fixtures/sizes.")
    parser.add_argument("--output", type=Path, default=ROOT / "Fixtures/sizes")
    root = parser.parse_args().output
    for name in PADS:
        models.write_folder(root / name, name)
    for name in ("taesd", "taesdxl"):
        (root / name).mkdir(exist_ok=True)
        models.write_component(root / name, "vae", models.published("vae", name))
    write_tokenizers(root, merges())
    write_tokens(root)


if __name__ == "__main__":
    main()
