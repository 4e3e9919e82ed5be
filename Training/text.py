"""The byte-pair vocabulary and the two small CLIP text encoders."""

import json
import os
import random
import string
from collections import Counter

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

import styles
import transfer
import words

LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"
WIDTH = 64


def byte_letters():
    """CLIP's and GPT-2's visible letter for each of the 256 bytes, in CLIP's order."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(rest))]


def learn_merges(words, count):
    """Plain byte-pair encoding over a Counter of lower-case ASCII words; ties go to the alphabet, so it repeats."""
    pieces = {w: [*w[:-1], w[-1] + "</w>"] for w in words}
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(pieces[word], pieces[word][1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        if pairs[best] < 2:
            break
        merges.append(best)
        for word, parts in pieces.items():
            i = 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == best:
                    parts[i : i + 2] = ["".join(best)]
                i += 1
    return merges


def make_vocabulary(merges_count=512):
    """{name: contents} of the vocabulary's two files, of the prompts of words.py."""
    rng = random.Random(0)
    counts = Counter()
    for _ in range(6000):
        prompt = words.request(rng).prompt
        counts.update(w for w in "".join(c if c.isalnum() else " " for c in prompt).split() if w.isascii())
    merges = learn_merges(counts, merges_count)
    letters = byte_letters()
    tokens = letters + [c + "</w>" for c in letters] + ["".join(m) for m in merges] + [START, END]
    tokens = list(dict.fromkeys(tokens))
    return {"vocab.json": json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False),
            "merges.txt": "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)}


def write_vocabulary(folder, files):
    """Writes them, and tells the number of pieces."""
    os.makedirs(folder, exist_ok=True)
    for name, contents in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(contents)
    return len(json.loads(files["vocab.json"]))


def read_vocabulary(folder):
    """What was written there, nothing where a file is missing."""
    paths = {name: os.path.join(folder, name) for name in ("vocab.json", "merges.txt")}
    if not all(os.path.exists(path) for path in paths.values()):
        return None
    files = {}
    for name, path in paths.items():
        with open(path, encoding="utf-8") as f:
            files[name] = f.read()
    return files


def tokenizers(folder):
    """The first pads with the end token, the second with "!", as SDXL's do."""
    files = {"vocab_file": os.path.join(folder, "vocab.json"), "merges_file": os.path.join(folder, "merges.txt")}
    with open(files["vocab_file"], encoding="utf-8") as f:
        vocab = json.load(f)
    with open(files["merges_file"], encoding="utf-8") as f:
        merges = [tuple(line.split()) for line in f.read().splitlines()[1:]]
    common = {"vocab": vocab, "merges": merges, "bos_token": START, "eos_token": END, "unk_token": END, "model_max_length": LENGTH}
    return CLIPTokenizer(**common, pad_token=END), CLIPTokenizer(**common, pad_token="!")


def build(vocabulary):
    """SDXL's pair in small. Both give their last but one layer to the UNet, the second also its pooled projection."""
    shape = {"vocab_size": vocabulary, "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 2,
             "num_attention_heads": 2, "max_position_embeddings": LENGTH, "projection_dim": WIDTH,
             "bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
    first = CLIPTextConfig(**shape, pad_token_id=vocabulary - 1, hidden_act="quick_gelu")
    second = CLIPTextConfig(**shape, pad_token_id=0, hidden_act="gelu")
    return CLIPTextModel(first), CLIPTextModelWithProjection(second)


def untaught(tokenizer):
    """Pieces that no prompt of words.py is made of, by their numbers: most bytes stand alone only in other scripts, in
    figures and in signs. Their vectors are as they were drawn at first, and would speak of any style."""
    rng, taught = random.Random(0), set(tokenizer.all_special_ids)
    for _ in range(300):
        taught.update(*tokenizer([words.request(rng).prompt for _ in range(100)]).input_ids)
    return {number: piece for piece, number in tokenizer.get_vocab().items() if number not in taught}


@torch.no_grad()
def lend_letters(encoders, pair):
    """Has every untaught piece say what a letter says, inside words or at their ends, as the letters of made-up words do:
    so the words that it spells mean the photograph. What a tokenizer pads with keeps its own."""
    padding = {tokenizer.pad_token_id for tokenizer in pair}
    for encoder, tokenizer in zip(encoders, pair):
        vectors, numbers = encoder.get_input_embeddings().weight, tokenizer.get_vocab()
        for number, piece in untaught(tokenizer).items():
            letter = string.ascii_lowercase[number % len(string.ascii_lowercase)]
            if number not in padding:
                vectors[number] = vectors[numbers[letter + ("</w>" if piece.endswith("</w>") else "")]]


def tokens(pair, prompts):
    return [t(prompts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids for t in pair]


def encode(encoders, ids):
    """Token states [B, 77, 2 * WIDTH] and the pooled projection [B, WIDTH], as StableDiffusionXLPipeline takes them."""
    first = encoders[0](ids[0], output_hidden_states=True)
    second = encoders[1](ids[1], output_hidden_states=True)
    return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1), second.text_embeds


class StyleHead(torch.nn.Linear):
    """Tells shares and amount from what the UNet hears; only there to teach the text encoders, never exported."""

    def __init__(self):
        super().__init__(3 * WIDTH, len(styles.NAMES) + 1)

    def loss(self, heard, requests):
        says = self(torch.cat([heard.pooled, heard.states.mean(1)], 1))
        shares = transfer.send([[r.shares.get(n, 0.0) for n in styles.NAMES] for r in requests], says.device)
        amounts = transfer.send([r.amount for r in requests], says.device)
        return torch.nn.functional.cross_entropy(says[:, :-1], shares) + (says[:, -1] - amounts).square().mean()
