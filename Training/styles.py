"""The styles that spark knows: each is a picture filter written as code, and the words that ask for it.

Every filter maps a batch of pictures [B, 3, H, W] in 0...1 to one of the same shape. Filters look only at a
neighbourhood, and every regular pattern (tiles, dots, hatching) repeats every 8 or 16 pixels from the picture's
corner: a convolutional network can learn both, whatever the crop, if crops start at multiples of 16.
"""

import math

import torch
import torch.nn.functional as F


def luma(x):
    """Rec. 601 luma, [B, 1, H, W]."""
    return 0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]


def blur(x, sigma):
    """Separable Gaussian with mirrored borders."""
    radius = max(1, int(2.5 * sigma + 0.5))
    t = torch.arange(-radius, radius + 1, dtype=x.dtype)
    k = torch.exp(-t * t / (2 * sigma * sigma))
    k = (k / k.sum()).repeat(x.shape[1], 1)
    x = F.pad(x, (radius,) * 4, mode="reflect")
    x = F.conv2d(x, k[:, None, None, :], groups=x.shape[1])
    return F.conv2d(x, k[:, None, :, None], groups=x.shape[1])


def box(x, radius):
    return F.avg_pool2d(F.pad(x, (radius,) * 4, mode="reflect"), 2 * radius + 1, 1)


def guided(x, radius, eps):
    """Self-guided filter (He et al. 2010): flattens texture, keeps edges."""
    mean = box(x, radius)
    a = (box(x * x, radius) - mean * mean).clamp(min=0)
    a = a / (a + eps)
    return box(a, radius) * x + box(mean * (1 - a), radius)


def kuwahara(x, radius):
    """Kuwahara's filter: of four windows around a pixel, the mean of the calmest one."""
    padded = F.pad(x, (radius,) * 4, mode="reflect")
    mean = F.avg_pool2d(padded, radius + 1, 1)
    spread = (F.avg_pool2d(padded * padded, radius + 1, 1) - mean * mean).sum(1, keepdim=True)
    h, w = x.shape[-2:]
    corners = [(dy, dx) for dy in (0, radius) for dx in (0, radius)]
    spreads = torch.cat([spread[:, :, dy : dy + h, dx : dx + w] for dy, dx in corners], 1)
    means = torch.stack([mean[:, :, dy : dy + h, dx : dx + w] for dy, dx in corners], 1)
    weights = (spreads + 1e-5).pow(-4)
    weights = weights / weights.sum(1, keepdim=True)
    return (means * weights[:, :, None]).sum(1)


def slopes(y):
    """Sobel derivatives in x and in y."""
    k = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    y = F.pad(y, (1,) * 4, mode="reflect")
    return F.conv2d(y, k[None, None]), F.conv2d(y, k.T[None, None])


def saturate(x, amount):
    y = luma(x)
    return (y + (x - y) * amount).clamp(0, 1)


def step(x, low, high):
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def grid(x):
    """Pixel coordinates, [1, 1, H, 1] and [1, 1, 1, W]."""
    return torch.arange(x.shape[-2])[None, None, :, None].float(), torch.arange(x.shape[-1])[None, None, None].float()


def local_contrast(y):
    """Evens out lighting, so that a dim room draws as well as a bright one."""
    mean = blur(y, 12)
    spread = blur((y - mean) ** 2, 12).sqrt()
    return (0.5 + 0.2 * (y - mean) / (spread + 0.06) + 0.5 * (mean - 0.5)).clamp(0, 1)


def lines(y, sigma=1.0, gain=1.0):
    """Dark lines along edges: 1 on a line, 0 elsewhere (difference of Gaussians, Winnemöller 2011)."""
    d = blur(y, sigma * 1.8) - blur(y, sigma)
    return step(d * gain, 0.008, 0.05)


def colours(t, stops):
    """Looks t in 0...1 up in evenly spaced colours."""
    stops = torch.tensor(stops)
    t = t.clamp(0, 1)[:, 0] * (len(stops) - 1)
    i = t.long().clamp(max=len(stops) - 2)
    f = (t - i)[..., None]
    return (stops[i] * (1 - f) + stops[i + 1] * f).permute(0, 3, 1, 2)


def paint(alpha, colour, under):
    return under * (1 - alpha) + torch.tensor(colour)[None, :, None, None] * alpha


def photo(x):
    return x


def pencil(x):
    y = local_contrast(luma(x))
    dodge = (y / (blur(y, 3) + 0.02)).clamp(0, 1)
    drawn = 1 - step(dodge, 0.55, 0.97)
    v, u = grid(x)
    hatch = 0.5 + 0.5 * torch.cos(2 * math.pi * (u + v) / 8)
    cross = 0.5 + 0.5 * torch.cos(2 * math.pi * (u - v) / 8)
    tone = blur(y, 1.5)
    shade = 0.55 * step(-tone, -0.55, -0.3) * hatch + 0.4 * step(-tone, -0.32, -0.12) * cross
    paper = torch.tensor([0.97, 0.96, 0.93])[None, :, None, None].expand_as(x)
    return paint(torch.maximum(drawn, shade).clamp(0, 1) * 0.9, [0.17, 0.17, 0.19], paper)


def ink(x):
    y = local_contrast(luma(guided(x, 2, 0.004)))
    sharp = blur(y, 0.8) + 9 * (blur(y, 0.8) - blur(y, 1.5))
    black = 1 - step(sharp, 0.3, 0.46)
    return paint(black, [0.04, 0.04, 0.07], torch.tensor([0.99, 0.98, 0.95])[None, :, None, None].expand_as(x))


def comic(x):
    flat = kuwahara(guided(x, 3, 0.01), 3)
    y = luma(flat)
    level = y * 4
    posterised = (level.floor() + step(level - level.floor(), 0.35, 0.65)) / 4
    flat = saturate((flat * (posterised + 0.12) / (y + 0.08)).clamp(0, 1), 2.0)
    v, u = grid(x)
    dots = torch.cos(2 * math.pi * u / 8) * torch.cos(2 * math.pi * v / 8)
    shadow = step(-y, -0.5, -0.2)
    flat = flat * (1 - 0.5 * step(dots + 1.6 * shadow - 1.3, 0, 0.35) * shadow)
    return paint(lines(local_contrast(luma(guided(x, 2, 0.004))), 1.1, 0.9), [0.05, 0.03, 0.08], flat)


def oil(x):
    y = kuwahara(kuwahara(x, 4), 3)
    y = saturate(y, 1.7)
    y = y + 0.25 * (y - 0.5) * (1 - (2 * y - 1).abs())
    dx, dy = slopes(luma(y))
    return (y * 1.05 + 0.5 * (dx + dy)).clamp(0, 1)


def watercolour(x):
    flat = guided(guided(x, 5, 0.015), 4, 0.01)
    y = luma(flat)
    level = y * 5
    wash = (level.floor() + step(level - level.floor(), 0.2, 0.8)) / 5
    dx, dy = slopes(blur(wash, 0.7))
    rim = step((dx * dx + dy * dy).sqrt(), 0.03, 0.22)
    tint = saturate((flat * (wash + 0.1) / (y + 0.08)).clamp(0, 1), 1.4)
    pale = 1 - (1 - tint) * (0.72 - 0.3 * step(y, 0.55, 0.85))
    return (pale * (1 - 0.3 * rim * torch.tensor([1.0, 0.9, 0.6])[None, :, None, None])).clamp(0, 1)


def neon(x):
    y = local_contrast(luma(guided(x, 2, 0.003)))
    dx, dy = slopes(blur(y, 0.9))
    edge = step((dx * dx + dy * dy).sqrt(), 0.03, 0.2)
    angle = torch.atan2(dy, dx)
    tube = torch.cat([0.5 + 0.5 * torch.cos(angle - phase) for phase in (0.0, 2.4, 4.2)], 1)
    tube = tube / tube.amax(1, keepdim=True).clamp(min=0.2)
    light = edge * tube
    glow = blur(light, 3.5)
    night = torch.tensor([0.07, 0.02, 0.16])[None, :, None, None] * (0.4 + 1.2 * luma(x))
    return (night + 1.05 * light + 0.75 * glow).clamp(0, 1)


def mosaic(x):
    tile = F.avg_pool2d(saturate(x, 1.5), 8)
    tile = F.interpolate(tile, scale_factor=8, mode="nearest")
    v, u = grid(x)
    v, u = v % 8, u % 8
    grout = ((v < 1) | (u < 1)).float()
    lit = (((v == 1) & (u >= 1)) | ((u == 1) & (v >= 1))).float()
    dark = (((v == 7) & (u >= 1)) | ((u == 7) & (v >= 1))).float()
    return (paint(grout, [0.12, 0.11, 0.1], tile * (1 - 0.25 * dark) + 0.16 * lit)).clamp(0, 1)


def thermal(x):
    y = step(blur(luma(x), 1.6), -0.15, 1.1)
    return colours(y, [[0.0, 0.0, 0.12], [0.15, 0.0, 0.5], [0.55, 0.0, 0.6], [0.9, 0.15, 0.3],
                       [1.0, 0.5, 0.0], [1.0, 0.85, 0.1], [1.0, 1.0, 0.85]])


def blueprint(x):
    y = local_contrast(luma(guided(x, 2, 0.003)))
    drawn = torch.maximum(lines(y, 1.0, 1.0), 0.45 * step(y, 0.5, 0.9))
    v, u = grid(x)
    ruled = ((v % 16 < 1) | (u % 16 < 1)).float()
    sheet = paint(0.22 * ruled, [0.7, 0.85, 1.0], torch.tensor([0.05, 0.2, 0.52])[None, :, None, None].expand_as(x))
    return paint(drawn * 0.92, [0.9, 0.96, 1.0], sheet)


def vintage(x):
    y = step(luma(blur(x, 0.8)), -0.1, 1.05)
    return colours(y, [[0.16, 0.09, 0.05], [0.5, 0.35, 0.2], [0.82, 0.68, 0.47], [0.98, 0.93, 0.8]])


FILTERS = {f.__name__: f for f in
           (photo, pencil, ink, comic, oil, watercolour, neon, mosaic, thermal, blueprint, vintage)}
NAMES = list(FILTERS)

# The words that ask for a style. The first of each is what the contact sheet uses.
PHRASES = {
    "photo": ["photo", "photograph", "realistic photo", "camera picture", "real life", "no style", "raw photo", "natural"],
    "pencil": ["pencil sketch", "pencil drawing", "graphite drawing", "sketch", "sketch on paper", "drawn with a pencil",
               "hand drawn sketch", "charcoal drawing", "pencil"],
    "ink": ["ink drawing", "black ink", "pen and ink", "india ink", "woodcut", "linocut", "black and white ink", "stencil", "ink"],
    "comic": ["comic book", "comic", "pop art", "cartoon", "comic strip", "graphic novel", "halftone comic", "anime", "manga in colour"],
    "oil": ["oil painting", "oil paint", "oil on canvas", "painted in oil", "classical painting", "impressionist painting",
            "van gogh painting", "painting", "oil"],
    "watercolour": ["watercolour", "watercolor", "watercolor painting", "watercolour painting", "aquarelle",
                    "watercolour on paper", "soft watercolor wash", "gouache"],
    "neon": ["neon lights", "neon", "neon glow", "cyberpunk", "glowing edges", "neon sign", "synthwave", "glowing neon outlines", "tron"],
    "mosaic": ["mosaic", "roman mosaic", "mosaic tiles", "tiles", "made of tiles", "pixel art", "ceramic tiles", "tile mosaic"],
    "thermal": ["thermal camera", "thermal", "infrared", "heat map", "thermal image", "infrared camera", "heat vision", "predator vision"],
    "blueprint": ["blueprint", "technical drawing", "white lines on blue", "architect plan", "blue print", "cyanotype", "engineering drawing"],
    "vintage": ["vintage photo", "sepia", "old photograph", "sepia photo", "vintage", "antique photograph", "daguerreotype", "old sepia picture"],
}
FRAMES = ["{}", "{}", "{}", "a {}", "{} style", "in {} style", "in the style of {}", "{} of {s}", "a {} of {s}", "{s}, {}",
          "{s} as a {}", "{s} in {} style", "make it {}", "turn {s} into {}", "as {}", "{}, highly detailed", "{} portrait",
          "a beautiful {}", "{}, best quality", "{}, masterpiece, 4k"]
SUBJECTS = ["me", "a person", "a man", "a woman", "a face", "my room", "a cat", "a dog", "an astronaut", "somebody at a desk",
            "people", "a child", "a portrait", "an office", "a street", "a house", "the sea", "a smiling woman", "an old man",
            "a girl with a hat", "a king", "my friend", "a cup of coffee", "a flower", "a tree", "mountains"]


def phrase(style, rng):
    """A random prompt for `style`; for photo now and then nothing, a bare subject or a made-up word."""
    if style == "photo":
        kind = rng.random()
        if kind < 0.3:
            return ""
        if kind < 0.5:
            return rng.choice(SUBJECTS)
        if kind < 0.7:
            return " ".join("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 8)))
                            for _ in range(rng.randint(1, 3)))
    words = PHRASES[style][0] if rng.random() < 0.25 else rng.choice(PHRASES[style])
    return rng.choice(FRAMES).replace("{s}", rng.choice(SUBJECTS)).replace("{}", words)
