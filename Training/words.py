"""Prompts: the words that ask for a style, for a mixture of two, and for more or less of it."""

import re
from dataclasses import dataclass

from styles import NAMES

# The first of each is what the contact sheet uses.
PHRASES = {
    "photo": ["photo", "photograph", "realistic photo", "camera picture", "real life", "no style", "raw photo", "natural"],
    "oil": ["oil painting", "oil paint", "oil on canvas", "painted in oil", "classical painting", "renaissance painting",
            "painting", "oil", "thick paint", "rembrandt"],
    "vangogh": ["van gogh painting", "van gogh", "starry night", "impressionist painting", "swirling brush strokes",
                "impressionism", "expressionist painting", "post impressionism"],
    "watercolour": ["watercolour", "watercolor", "watercolor painting", "watercolour painting", "aquarelle",
                    "watercolour on paper", "soft watercolor wash", "gouache"],
    "pastel": ["pastel", "pastel drawing", "chalk pastel", "chalk drawing", "soft pastels", "crayon", "coloured chalk"],
    "pencil": ["pencil sketch", "pencil drawing", "graphite drawing", "sketch", "sketch on paper", "drawn with a pencil",
               "hand drawn sketch", "charcoal drawing", "pencil"],
    "ink": ["ink drawing", "black ink", "pen and ink", "india ink", "black and white ink", "stencil", "ink", "sumi-e"],
    "woodcut": ["woodcut", "linocut", "wood engraving", "engraving", "woodblock print", "etching", "old engraving"],
    "comic": ["comic book", "comic", "pop art", "cartoon", "comic strip", "graphic novel", "halftone comic", "anime",
              "manga in colour"],
    "pixelart": ["pixel art", "pixels", "8 bit", "8-bit game", "retro video game", "pixelated", "minecraft", "sprite"],
    "mosaic": ["mosaic", "roman mosaic", "mosaic tiles", "tiles", "made of tiles", "ceramic tiles", "tile mosaic"],
    "neon": ["neon lights", "neon", "neon glow", "glowing edges", "neon sign", "glowing neon outlines", "tron", "light tubes"],
    "cyberpunk": ["cyberpunk", "synthwave", "vaporwave", "blade runner", "hologram", "futuristic city lights", "sci-fi",
                  "retrowave"],
    "thermal": ["thermal camera", "thermal", "infrared", "heat map", "thermal image", "infrared camera", "heat vision",
                "predator vision"],
    "blueprint": ["blueprint", "technical drawing", "white lines on blue", "architect plan", "blue print", "cyanotype",
                  "engineering drawing"],
    "vintage": ["vintage photo", "sepia", "old photograph", "sepia photo", "vintage", "antique photograph", "daguerreotype",
                "old sepia picture"],
}
FRAMES = ["{}", "{}", "{}", "a {}", "{} style", "in {} style", "in the style of {}", "{} of {s}", "a {} of {s}", "{s}, {}",
          "{s} as a {}", "{s} in {} style", "make it {}", "turn {s} into {}", "as {}", "{}, highly detailed", "{} portrait",
          "a beautiful {}", "{}, best quality", "{}, masterpiece, 4k", "{s} by {}", "{}, cinematic light", "portrait of {s}, {}"]
SUBJECTS = ["me", "a person", "a man", "a woman", "a face", "my room", "a cat", "a dog", "an astronaut", "somebody at a desk",
            "people", "a child", "a portrait", "an office", "a street", "a house", "the sea", "a smiling woman", "an old man",
            "a girl with a hat", "a king", "my friend", "a cup of coffee", "a flower", "a tree", "mountains"]
BLENDS = ["{a} and {b}", "{a} with {b}", "{a}, {b}", "{a} mixed with {b}", "half {a} half {b}", "{a} + {b}", "{a} meets {b}"]
# How much of the style: the share of the way from the photograph to it.
AMOUNTS = [(["slightly", "a bit of", "a little", "subtle", "faint", "a touch of", "light"], 0.35),
           (["half", "medium", "moderate", "somewhat"], 0.6),
           (["very strong", "extreme", "strong", "intense", "bold", "very"], 1.2)]


@dataclass
class Request:
    """A prompt, and what it asks for: how much of each style of NAMES, summing to 1, and how much of that."""
    prompt: str
    shares: dict
    amount: float = 1.0


def listed():
    """What styles.json of a model folder says: of each style its name for people, the prompt for it and all its phrases,
    the photograph as it is last; and the words around them, which ask for no style. Other words were never learnt."""
    around = [*FRAMES, *BLENDS, *(adverb for adverbs, _ in AMOUNTS for adverb in adverbs)]
    phrases = letters(p for style in PHRASES.values() for p in style)
    # "old" asks for a style, also as the man's.
    plain = letters(around) | letters(SUBJECTS) - phrases
    names = [*(name for name in NAMES if name != "photo"), "photo"]
    return {"styles": [{"name": title(name), "prompt": PHRASES[name][0], "phrases": PHRASES[name]} for name in names],
            "words": sorted(plain)}


def title(name):
    """The style's name as people write it."""
    return next(phrase for phrase in PHRASES[name] if phrase.replace(" ", "") == name)


def letters(texts):
    """The words of prompts, as the tokenizer cuts them; without figures and what stands in braces."""
    return {word for text in texts for word in re.findall(r"[^\W\d_]+", re.sub(r"{\w*}", " ", text).lower())}


def plain(name):
    """The name that the contact sheet uses."""
    return Request(PHRASES[name][0], {name: 1.0})


def request(rng, name=None):
    """A random prompt: mostly one style, now and then two, or more or less of one; for photo also nothing, a bare
    subject or made-up words."""
    name = name or rng.choice(NAMES)
    if name == "photo":
        return Request(photograph(rng), {"photo": 1.0})
    kind = rng.random()
    if kind < 0.12:
        other = rng.choice([n for n in NAMES if n not in ("photo", name)])
        words = rng.choice(BLENDS).replace("{a}", some(name, rng)).replace("{b}", some(other, rng))
        return Request(framed(words, rng), {name: 0.5, other: 0.5})
    if kind < 0.26:
        adverbs, amount = rng.choice(AMOUNTS)
        return Request(framed(f"{rng.choice(adverbs)} {some(name, rng)}", rng), {name: 1.0}, amount)
    return Request(framed(some(name, rng), rng), {name: 1.0})


def some(name, rng):
    return PHRASES[name][0] if rng.random() < 0.25 else rng.choice(PHRASES[name])


def framed(words, rng):
    return rng.choice(FRAMES).replace("{s}", rng.choice(SUBJECTS)).replace("{}", words)


def photograph(rng):
    kind = rng.random()
    if kind < 0.35:
        return ""
    if kind < 0.5:
        return rng.choice(SUBJECTS)
    if kind < 0.65:
        return " ".join("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 8)))
                        for _ in range(rng.randint(1, 3)))
    return framed(some("photo", rng), rng)
