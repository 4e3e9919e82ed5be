"""Pictures to learn from: public-domain photographs inside Python packages, and scenes drawn by code."""

import io
import os
import random

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

import styles

# file -> (package, what it shows, why it may be used). Nothing is downloaded: the files are inside the wheels.
PHOTOGRAPHS = {
    "grace_hopper.jpg": ("matplotlib", "Grace Hopper", "public domain, United States Navy"),
    "chelsea.png": ("skimage", "a cat", "CC0, Stefan van der Walt"),
    "rocket.jpg": ("skimage", "a rocket's launch", "public domain, SpaceX"),
    "camera.png": ("skimage", "a cameraman, grey", "CC0, Lav Varshney"),
    "horse.png": ("skimage", "silhouette of a horse", "CC0, Andreas Preuss"),
    "clock_motion.png": ("skimage", "a clock, grey", "public domain, Stefan van der Walt"),
    "hubble_deep_field.jpg": ("skimage", "galaxies", "public domain, NASA"),
    "brick.png": ("skimage", "bricks, grey", "CC0, CC0Textures"),
    "grass.png": ("skimage", "grass, grey", "CC0, Linolafett"),
    "gravel.png": ("skimage", "gravel, grey", "CC0, CC0Textures"),
    "text.png": ("skimage", "handwriting, grey", "public domain"),
}
# Never trained on: the contact sheet and evaluate.py use these.
HELD_OUT = {
    "astronaut.png": ("skimage", "Eileen Collins", "public domain, NASA"),
    "coffee.png": ("skimage", "a cup of coffee", "CC0, Rachel Michetti"),
}
# How often each photograph is drawn; textures and the like only now and then.
WEIGHTS = {"grace_hopper.jpg": 6, "chelsea.png": 5, "rocket.jpg": 3, "camera.png": 3, "clock_motion.png": 1.5,
           "horse.png": 0.7, "hubble_deep_field.jpg": 0.5}

SIZE = 256


def folder(package):
    if package == "matplotlib":
        import matplotlib
        return os.path.join(matplotlib.get_data_path(), "sample_data")
    import skimage
    return os.path.join(os.path.dirname(skimage.__file__), "data")


def photograph(name):
    package = (PHOTOGRAPHS | HELD_OUT)[name][0]
    picture = Image.open(os.path.join(folder(package), name))
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def square(picture, size=SIZE):
    """The middle of a picture, scaled to size x size."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side)).resize((size, size), Image.LANCZOS)


def tensor(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255)


def image(x):
    return Image.fromarray((x.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


class Source:
    """Endless pictures of 256x256: `next()` gives one clean and the same as a webcam would see it."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.photographs = {name: photograph(name) for name in PHOTOGRAPHS}
        self.names = list(self.photographs)
        self.weights = [WEIGHTS.get(name, 0.35) for name in self.names]

    def next(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.62:
            picture = self.crop()
        elif kind < 0.72:
            picture = Image.blend(self.crop(), self.crop(), rng.uniform(0.2, 0.45))
        else:
            picture = scene(rng, self.crop() if rng.random() < 0.4 else None)
        clean = self.coloured(tensor(picture))
        return clean, self.webcam(clean)

    def crop(self):
        rng = self.rng
        picture = self.photographs[rng.choices(self.names, self.weights)[0]]
        side = min(picture.size) * rng.uniform(0.3, 1) ** 0.7
        angle = rng.gauss(0, 6)
        x = rng.uniform(0, picture.width - side) + side / 2
        y = rng.uniform(0, picture.height - side) + side / 2
        c, s = np.cos(np.radians(angle)) * side / SIZE, np.sin(np.radians(angle)) * side / SIZE
        mirror = rng.choice([-1, 1])
        half = SIZE / 2
        matrix = (mirror * c, -s, x - mirror * c * half + s * half, mirror * s, c, y - mirror * s * half - c * half)
        # Reflect what a rotated crop would see beyond the border.
        pad = 60
        padded = Image.fromarray(np.pad(np.array(picture), ((pad, pad), (pad, pad), (0, 0)), mode="reflect"))
        matrix = matrix[:2] + (matrix[2] + pad,) + matrix[3:5] + (matrix[5] + pad,)
        shrunk = side / SIZE
        if shrunk > 1.3:
            padded = padded.filter(ImageFilter.GaussianBlur(0.35 * shrunk))
        return padded.transform((SIZE, SIZE), Image.AFFINE, matrix, Image.BICUBIC)

    def coloured(self, x):
        """Another exposure, white balance, hue and a light from one side."""
        rng = self.rng
        if rng.random() < 0.35:
            turn = torch.eye(3)[torch.randperm(3, generator=self.generator())]
            x = torch.einsum("ij,jhw->ihw", torch.lerp(torch.eye(3), turn, rng.uniform(0, 1)), x)
        y = styles.luma(x[None])[0]
        x = y + (x - y) * rng.uniform(0.5, 1.6)
        x = x * torch.tensor([rng.uniform(0.82, 1.18) for _ in range(3)])[:, None, None]
        if rng.random() < 0.5:
            v, u = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
            a = rng.uniform(0, 6.28)
            x = x * (1 + rng.uniform(0, 0.5) * (np.cos(a) * u + np.sin(a) * v))
        x = (x - 0.5) * rng.uniform(0.7, 1.25) + 0.5 + rng.gauss(0, 0.07)
        return x.clamp(0, 1) ** np.exp(rng.gauss(0, 0.25))

    def webcam(self, x):
        """Softness, sensor noise and JPEG."""
        rng = self.rng
        if rng.random() < 0.5:
            x = styles.blur(x[None], rng.uniform(0.3, 1.0))[0]
        if rng.random() < 0.7:
            x = x + torch.randn(x.shape, generator=self.generator()) * rng.uniform(0, 0.04)
        if rng.random() < 0.6:
            held = io.BytesIO()
            image(x).save(held, "JPEG", quality=rng.randint(45, 95))
            x = tensor(Image.open(held).convert("RGB"))
        return x.clamp(0, 1)

    def generator(self):
        return torch.Generator().manual_seed(self.rng.getrandbits(40))


def colour(rng, low=10, high=245):
    return tuple(rng.randint(low, high) for _ in range(3))


def shade(c, f):
    return tuple(int(max(0, min(255, v * f))) for v in c)


def scene(rng, backdrop=None):
    """A room with furniture and perhaps a person, drawn at twice the size; `backdrop` may stand in for the wall."""
    n = 2 * SIZE
    wall = colour(rng, 60, 240)
    picture = backdrop.resize((n, n)) if backdrop else Image.new("RGB", (n, n), wall)
    draw = ImageDraw.Draw(picture)
    floor = rng.randint(int(n * 0.6), n)
    if not backdrop:
        draw.rectangle((0, floor, n, n), fill=colour(rng, 30, 180))
        for _ in range(rng.randint(1, 4)):
            rng.choice((window, shelf, box, poster, plant, lamp))(draw, rng, n, floor)
    for _ in range(rng.choices((0, 1, 2), (2, 6, 1))[0]):
        person(draw, rng, n)
    if rng.random() < 0.25:
        writing(draw, rng, n)
    if rng.random() < 0.3:
        box(draw, rng, n, n)
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 2.5)))
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.75, 1.2))
    picture = picture.resize((SIZE, SIZE), Image.LANCZOS)
    return textured(picture, rng)


def textured(picture, rng):
    """Cloudy light and fine grain, so that drawn planes are not perfectly flat."""
    g = torch.Generator().manual_seed(rng.getrandbits(40))
    x = np.array(picture).astype(np.float32)
    for cells, strength in ((4, 0.16), (32, 0.05), (SIZE, 0.03)):
        noise = torch.randn(1, 1, cells, cells, generator=g)
        noise = torch.nn.functional.interpolate(noise, size=(SIZE, SIZE), mode="bicubic", align_corners=False)
        x = x * (1 + strength * rng.random() * noise[0, 0, :, :, None].numpy())
    return Image.fromarray(x.clip(0, 255).astype(np.uint8))


def place(rng, n, floor, low, high):
    w, h = rng.randint(int(n * low), int(n * high)), rng.randint(int(n * low), int(n * high))
    x, y = rng.randint(-w // 3, n - w // 2), rng.randint(0, max(1, floor - h // 2))
    return x, y, w, h


def window(draw, rng, n, floor):
    x, y, w, h = place(rng, n, floor // 2, 0.2, 0.5)
    light = colour(rng, 190, 255)
    draw.rectangle((x, y, x + w, y + h), fill=light, outline=colour(rng, 30, 220), width=rng.randint(4, 12))
    draw.line((x + w // 2, y, x + w // 2, y + h), fill=shade(light, 0.5), width=rng.randint(3, 8))
    draw.line((x, y + h // 2, x + w, y + h // 2), fill=shade(light, 0.5), width=rng.randint(3, 8))


def shelf(draw, rng, n, floor):
    x, y, w, h = place(rng, n, floor, 0.25, 0.7)
    wood = colour(rng, 40, 160)
    draw.rectangle((x, y, x + w, y + h), fill=shade(wood, 0.6))
    rows = rng.randint(2, 4)
    for row in range(rows):
        base = y + (row + 1) * h // rows
        at = x + 4
        while at < x + w - 8:
            thick, tall = rng.randint(6, 26), rng.uniform(0.5, 0.9) * h / rows
            if rng.random() < 0.85:
                draw.rectangle((at, base - tall, at + thick, base), fill=colour(rng))
            at += thick + rng.randint(0, 4)
        draw.rectangle((x, base - 4, x + w, base + 4), fill=wood)


def box(draw, rng, n, floor):
    x, y, w, h = place(rng, n, floor, 0.15, 0.5)
    c, d = colour(rng), rng.randint(8, 50)
    draw.rectangle((x, y, x + w, y + h), fill=c)
    draw.polygon(((x, y), (x + d, y - d), (x + w + d, y - d), (x + w, y)), fill=shade(c, 1.25))
    draw.polygon(((x + w, y), (x + w + d, y - d), (x + w + d, y + h - d), (x + w, y + h)), fill=shade(c, 0.6))


def poster(draw, rng, n, floor):
    x, y, w, h = place(rng, n, floor // 2, 0.15, 0.4)
    draw.rectangle((x, y, x + w, y + h), fill=colour(rng), outline=colour(rng), width=rng.randint(2, 8))
    for _ in range(rng.randint(2, 7)):
        a, b = x + rng.randint(0, w), y + rng.randint(0, h)
        c, d = x + rng.randint(0, w), y + rng.randint(0, h)
        shape = rng.choice((draw.ellipse, draw.rectangle))
        shape((min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1), fill=colour(rng))


def plant(draw, rng, n, floor):
    x, y = rng.randint(0, n), rng.randint(n // 3, n)
    for _ in range(rng.randint(8, 30)):
        a, r = rng.uniform(-3.1, 0), rng.randint(30, 130)
        tip = (x + r * np.cos(a), y + r * np.sin(a))
        draw.line((x, y, *tip), fill=(rng.randint(10, 90), rng.randint(70, 190), rng.randint(10, 90)), width=rng.randint(2, 12))
    draw.rectangle((x - 28, y, x + 28, y + 60), fill=colour(rng))


def lamp(draw, rng, n, floor):
    x, y, r = rng.randint(0, n), rng.randint(20, n // 2), rng.randint(15, 60)
    draw.line((x, y, x, floor), fill=colour(rng, 0, 90), width=rng.randint(3, 9))
    draw.polygon(((x - r, y + r), (x + r, y + r), (x + r // 2, y), (x - r // 2, y)), fill=colour(rng, 180, 255))


def person(draw, rng, n):
    """Shoulders, neck, head, hair, and a face of ellipses; enough for outlines and shading of the right kind."""
    r = rng.uniform(0.09, 0.22) * n
    x, y = rng.uniform(0.2, 0.8) * n, rng.uniform(0.3, 0.6) * n
    tone = rng.choice(((244, 208, 177), (224, 172, 105), (198, 134, 66), (141, 85, 36), (90, 56, 37), (255, 224, 196)))
    hair, shirt = colour(rng, 5, 150), colour(rng)

    def oval(cx, cy, rx, ry, fill):
        draw.ellipse((x + r * (cx - rx), y + r * (cy - ry), x + r * (cx + rx), y + r * (cy + ry)), fill=fill)

    if rng.random() < 0.5:
        oval(0, 0.3, 1.1, 1.7, hair)
    oval(0, 3.6, 2.3, 2.1, shirt)
    oval(-0.8, 3.7, 1.2, 1.9, shade(shirt, 0.85))
    draw.rectangle((x - 0.4 * r, y + 0.8 * r, x + 0.4 * r, y + 1.8 * r), fill=shade(tone, 0.75))
    oval(0, -0.25, 0.95, 1.15, hair)
    oval(0, 0.1, 0.8, 1.1, tone)
    side = rng.choice((-1, 1))
    oval(0.35 * side, 0.15, 0.42, 0.9, shade(tone, 1.08))
    if rng.random() < 0.5:
        oval(0, -0.85, 0.75, 0.35, hair)
    for eye in (-0.33, 0.33):
        oval(eye, -0.1, 0.17, 0.09, (240, 240, 240))
        oval(eye, -0.1, 0.08, 0.09, colour(rng, 5, 90))
        draw.line((x + r * (eye - 0.2), y - 0.28 * r, x + r * (eye + 0.2), y - 0.3 * r), fill=shade(hair, 0.7), width=max(2, int(r / 14)))
    draw.line((x, y, x + 0.1 * side * r, y + 0.3 * r, x - 0.02 * r, y + 0.33 * r), fill=shade(tone, 0.7), width=max(2, int(r / 16)))
    oval(0, 0.62, 0.3, rng.uniform(0.05, 0.14), (170, 70, 70))
    if rng.random() < 0.3:
        for eye in (-0.33, 0.33):
            box_ = (x + r * (eye - 0.26), y - 0.3 * r, x + r * (eye + 0.26), y + 0.12 * r)
            draw.ellipse(box_, outline=(20, 20, 20), width=max(2, int(r / 18)))


def writing(draw, rng, n):
    size = rng.randint(16, 70)
    font = ImageFont.load_default(size)
    x, y, c = rng.randint(0, n // 2), rng.randint(0, n // 2), colour(rng)
    for _ in range(rng.randint(1, 5)):
        words = " ".join("".join(rng.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789") for _ in range(rng.randint(2, 9))) for _ in range(3))
        draw.text((x, y), words, fill=c, font=font)
        y += int(size * 1.3)
