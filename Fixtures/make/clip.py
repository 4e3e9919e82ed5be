"""Makes Fixtures/clips/demo.mp4: a photograph moved as if somebody sat before a camera. The clip loops seamlessly.

    python Fixtures/make/clip.py [OUTPUT]

Needs scikit-image 0.26.0 (the photograph is inside its wheel), numpy, pillow, and ffmpeg with libx264 on the path.
"""

import math
import os
import subprocess
import sys

import numpy as np
import skimage
from PIL import Image

WIDTH, HEIGHT, FPS, SECONDS = 640, 480, 30, 5
PAD = 64
HERE = os.path.dirname(os.path.abspath(__file__))


def moved(photograph, phase):
    """The frame at `phase` (0...1 is one loop): every motion is a whole number of sine waves."""
    def wave(times, shift=0.0):
        return math.sin(2 * math.pi * (times * phase + shift))

    scale = 0.6 + 0.05 * wave(1, 0.2)  # pixels of the photograph to one of the frame
    angle = math.radians(3.5 * wave(1) + 1.2 * wave(2, 0.1))
    x, y = PAD + 236 + 34 * wave(1, 0.6), PAD + 160 + 10 * wave(2, 0.35)
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    matrix = (c, -s, x - c * WIDTH / 2 + s * HEIGHT / 2, s, c, y - s * WIDTH / 2 - c * HEIGHT / 2)
    return photograph.transform((WIDTH, HEIGHT), Image.AFFINE, matrix, Image.BICUBIC)


def lit(frame, phase, grain):
    """A light that wanders from side to side, a little warmer and colder, and the sensor's grain."""
    a = 2 * math.pi * phase
    across = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :, None]
    light = 1.0 + 0.06 * math.sin(2 * a) + 0.14 * math.sin(a + 1) * across
    warmth = 1 + 0.035 * math.sin(a) * np.array([1, 0.1, -1], dtype=np.float32)
    noise = grain.normal(0, 1.5, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return (np.asarray(frame, dtype=np.float32) * light * warmth + noise).clip(0, 255).astype(np.uint8)


def main():
    output = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "clips", "demo.mp4")
    source = os.path.join(os.path.dirname(skimage.__file__), "data", "astronaut.png")
    photograph = Image.open(source).convert("RGB")
    # Mirrored borders, so that a turned frame never shows an edge.
    photograph = Image.fromarray(np.pad(np.asarray(photograph), ((PAD, PAD), (PAD, PAD), (0, 0)), mode="reflect"))
    encoder = subprocess.Popen(
        ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS),
         "-i", "-", "-c:v", "libx264", "-preset", "slow", "-crf", "24", "-g", str(FPS), "-vf", "scale=out_color_matrix=bt709:out_range=tv",
         "-pix_fmt", "yuv420p", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-movflags", "+faststart", output],
        stdin=subprocess.PIPE)
    grain = np.random.default_rng(1)
    for i in range(FPS * SECONDS):
        phase = i / (FPS * SECONDS)
        encoder.stdin.write(lit(moved(photograph, phase), phase, grain).tobytes())
    encoder.stdin.close()
    sys.exit(encoder.wait())


if __name__ == "__main__":
    main()
