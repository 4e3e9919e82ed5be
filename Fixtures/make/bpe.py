"""A small byte-level BPE of CLIP's kind, and the prompts it is tried with."""

import json
import re
from collections import Counter
from pathlib import Path

BOS, EOS = "<|startoftext|>", "<|endoftext|>"

CORPUS = """
a photo of a cat sitting on the window sill in the morning light. an oil painting of a lighthouse
by the sea, thick brush strokes, stormy sky. a portrait of a woman with a red scarf, watercolour,
soft colours, detailed face. the same street at night in the rain, neon signs and reflections,
cinematic, wide angle lens. a pencil drawing of an old man's hands holding a book; cross hatching.
pixel art of a small castle on a green hill, sixteen colours. a japanese woodblock print of waves
and mountains and fishing boats. studio photograph of a glass of water, high detail, sharp focus.
a comic book panel with bold black lines and flat colours. an astronaut riding a horse on the moon.
stained glass window showing a tree with golden leaves. claymation figure waving at the camera.
it's what they're looking for, we've seen it, i'm sure you'll find that he'd said so, isn't it.
children playing football in the park while their dog is running after the ball. impressionist
garden with water lilies and a bridge. a marble statue of a thinking robot in an empty museum.
blue, green, yellow, orange, purple, black and white. trending, masterpiece, best quality, 8k.
""".lower()

PROMPTS = [
    "a photo of a cat",
    "",
    "An Oil Painting of a LIGHTHOUSE by the sea",
    "pixel art of a small castle, sixteen colours!",
    " leading and trailing   ",
    "many     spaces\tand\ttabs\n\nand newlines",
    "it's, they're, we've, I'm, you'll, he'd, don't, O'Neil's",
    "IT'S THEY'RE WE'VE I'M YOU'LL HE'D DON'T",
    "1234567890 and 3.14159, 8k, 4K, 1920x1080, 50%",
    "\u0661\u0662\u0663 \u00b2\u00b3 \u2163 \u00bd numbers of other kinds",
    "!",
    "!!! ??? ... --- ::: ;;; ///",
    "wow! really! yes!",
    "hello!world",
    "(masterpiece:1.2), [best quality], {detailed} <lora:x:0.8>",
    "cat,dog;bird:fish",
    "snake_case_words and kebab-case-words and CamelCaseWords",
    "email@example.org https://example.org/a?b=c&d=e#f",
    "<b>bold</b> &amp; &lt;tag&gt; <br/>",
    "caf\u00e9 na\u00efve r\u00e9sum\u00e9 \u00fcber stra\u00dfe",
    "cafe\u0301 nai\u0308ve (combining marks)",
    "\u0130STANBUL \u0131\u015f\u0131k \u1e9e \ufb01n \u01c5",
    "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u039a\u038c\u03a3\u039c\u0395 \u03a3\u03a3",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440",
    "\u65e5\u672c\u8a9e\u306e\u6d6e\u4e16\u7d75 \u4e2d\u6587 \ud55c\uad6d\uc5b4",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "a cat \U0001f431 and a rocket \U0001f680\U0001f680",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 flag \U0001f1eb\U0001f1f7 skin \U0001f44d\U0001f3fd",
    "\u201cquotes\u201d \u2018single\u2019 it\u2019s \u2014 dash \u2026",
    "no-break\u00a0space thin\u2009space ideographic\u3000space",
    "zero\u200bwidth soft\u00adhyphen bom\ufeff",
    "\U0001d504\U0001d505\U0001d506 \uff21\uff22\uff23 \uff11\uff12",
    "control \u0001\u0002 characters \u007f",
    "<|endoftext|>",
    "before <|endoftext|> after",
    "<|startoftext|>a cat<|endoftext|>",
    "<|ENDOFTEXT|> in capitals",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "a " * 100,
    "the same street at night in the rain, neon signs and reflections, cinematic, wide angle lens, " * 6,
    "x" * 300,
    "\U0001f431" * 60,
    " ".join(["word"] * 75),
    " ".join(["word"] * 76),
]


def byte_alphabet():
    """GPT-2's map of bytes to printable characters, in the order of CLIP's vocabulary."""
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in kept]
    characters = {byte: chr(byte) for byte in kept}
    characters.update({byte: chr(256 + index) for index, byte in enumerate(moved)})
    return {byte: characters[byte] for byte in [*kept, *moved]}


def train(merge_count):
    """Plain BPE on CORPUS; ties go to the pair that sorts first."""
    characters = byte_alphabet()
    words = Counter(re.findall(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+", CORPUS))
    pieces = {}
    for word, count in words.items():
        symbols = [characters[byte] for byte in word.encode()]
        symbols[-1] += "</w>"
        pieces[tuple(symbols)] = count
    merges = []
    while len(merges) < merge_count:
        pairs = Counter()
        for symbols, count in pieces.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {merge(symbols, best): count for symbols, count in pieces.items()}
    return merges


def merge(symbols, pair):
    merged, index = [], 0
    while index < len(symbols):
        if tuple(symbols[index : index + 2]) == pair:
            merged.append(symbols[index] + symbols[index + 1])
            index += 2
        else:
            merged.append(symbols[index])
            index += 1
    return tuple(merged)


def vocabulary(merges):
    """CLIP's order: bytes, bytes at a word's end, merges, then the two special tokens."""
    alphabet = list(byte_alphabet().values())
    tokens = alphabet + [character + "</w>" for character in alphabet]
    tokens += ["".join(pair) for pair in merges] + [BOS, EOS]
    return {token: index for index, token in enumerate(tokens)}


def write_slow_files(folder: Path, merges, pad_token, length):
    """The files that the older transformers wrote, as in SDXL's and SD-Turbo's repositories."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#version: 0.2"] + [" ".join(pair) for pair in merges]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(folder / "vocab.json", vocabulary(merges), indent=None)
    special = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    write_json(
        folder / "special_tokens_map.json",
        {
            "bos_token": {"content": BOS, **special},
            "eos_token": {"content": EOS, **special},
            "pad_token": pad_token,
            "unk_token": {"content": EOS, **special},
        },
    )
    ids = vocabulary(merges)
    added = {}
    for token in sorted({BOS, EOS, pad_token}, key=ids.get):
        normalized = token in (BOS, EOS)
        added[str(ids[token])] = {"content": token, **special, "normalized": normalized, "special": True}
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": added,
            "bos_token": BOS,
            "clean_up_tokenization_spaces": True,
            "do_lower_case": True,
            "eos_token": EOS,
            "errors": "replace",
            "model_max_length": length,
            "pad_token": pad_token,
            "tokenizer_class": "CLIPTokenizer",
            "unk_token": EOS,
        },
    )


def write_json(path: Path, value, indent=2):
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
