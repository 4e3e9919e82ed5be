"""The figures of the model card: teacher and student at several steps, on pictures that nothing was trained on.

    python figures.py RUN_FOLDER STUDENT_FOLDER [--pictures 24] [--json FILE]

Held-out photographs (data.HELD_OUT) and drawn scenes of a seed of their own, in every style. For each network and
number of steps, and for the other students in the run's folder that have come to their end (spark.py --without,
--student-minutes):

    style       how often the judge (judge.py) names the style that was asked for
    frechet     Fréchet distance of its features to those of really stylised pictures; of the same pictures really
                stylised twice, with other strokes and grain, as "really stylised"
    ssim, edges structure kept: SSIM of luma with the input (Wang et al. 2004), and the correlation of Sobel magnitudes
    flicker     mean absolute change, in steps of 255, between repaintings of a still picture with new camera noise and
                the same seed; over the first STILL pictures, half of them drawn scenes
    ms          one picture at 256x256 in PyTorch here, encode and decode included; the median
"""

import argparse
import glob
import json
import os
import random
import statistics
import time

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

import autoencoder
import data
import diffusion
import filters
import judge
import styles
import text
import words

ROWS = (("teacher", 1), ("teacher", 2), ("teacher", 4), ("teacher", 25), ("student", 1), ("student", 2), ("student", 4))
HELD_OUT_SEED = 987654321
STRENGTH = 0.5
STILL = 4  # pictures, of which flicker is measured


class Network:
    """One exported folder: pictures and prompts in, pictures out."""

    def __init__(self, folder):
        def part(kind, name):
            return kind.from_pretrained(os.path.join(folder, name), dtype=torch.float32).eval()

        self.vae, self.unet = part(AutoencoderTiny, "vae"), part(UNet2DConditionModel, "unet")
        self.encoders = part(CLIPTextModel, "text_encoder"), part(CLIPTextModelWithProjection, "text_encoder_2")
        self.tokenizers = text.tokenizers(os.path.join(folder, "tokenizer"))

    @torch.no_grad()
    def repaint(self, x, prompts, steps, seed):
        torch.manual_seed(seed)
        scale = self.vae.config.scaling_factor
        heard = diffusion.Words(*text.encode(self.encoders, text.tokens(self.tokenizers, prompts)))
        z = autoencoder.encode(self.vae, x) * scale
        return autoencoder.decode(self.vae, diffusion.repaint(self.unet, z, heard, STRENGTH, steps) / scale).clamp(0, 1)


def same_run(a, b):
    """Whether two networks are of one run: it trains its autoencoder before all else, and then leaves it as it is."""
    a, b = a.vae.state_dict(), b.vae.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def finished(run, name):
    """Whether another student has come to its end: a folder of it is written long before. A checkpoint from before the
    whole time was written down does not tell, and is taken for finished."""
    path = os.path.join(run, name.removeprefix("student-") + ".pt")
    if not os.path.exists(path):
        return False
    state = torch.load(path, map_location="cpu", mmap=True)
    return state["seconds"] >= 60 * state.get("whole", 0)


def pictures(count):
    """Half drawn scenes, half crops of held-out photographs, as a webcam sees them and clean: two [N, 3, 256, 256]."""
    source = data.Source(HELD_OUT_SEED)
    source.photographs = {name: data.photograph(name) for name in data.HELD_OUT}
    source.names, source.weights = list(source.photographs), [1.0] * len(source.photographs)
    source.rng = random.Random(HELD_OUT_SEED)
    pairs = []
    for i in range(count):
        clean = source.coloured(data.tensor(source.crop() if i % 2 else data.scene(source.rng)))
        pairs.append((clean, source.webcam(clean)))
    return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])


def ssim(a, b):
    a, b = filters.luma(a), filters.luma(b)
    mean_a, mean_b = filters.blur(a, 1.5), filters.blur(b, 1.5)
    var_a, var_b = filters.blur(a * a, 1.5) - mean_a**2, filters.blur(b * b, 1.5) - mean_b**2
    both = filters.blur(a * b, 1.5) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def edges(a, b):
    """Correlation of the two pictures' edges."""
    def strength(x):
        dx, dy = filters.slopes(filters.blur(filters.luma(x), 1.0))
        e = (dx**2 + dy**2).sqrt().flatten(1)
        return F.normalize(e - e.mean(1, keepdim=True), dim=1)
    return (strength(a) * strength(b)).sum(1).mean()


@torch.no_grad()
def found(classifier, x):
    parts = [classifier(p) for p in x.split(16)]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


@torch.no_grad()
def real(classifier, clean, seed):
    """Features of really stylised pictures, all styles, [S * N, D], and how often the judge names them rightly. The seed
    is that of strokes and grain."""
    torch.manual_seed(seed)
    features, right = [], []
    for number, name in enumerate(styles.NAMES):
        f, says = found(classifier, styles.FILTERS[name](clean).clamp(0, 1))
        features.append(f)
        right.append((says.argmax(1) == number).float().mean())
    return torch.cat(features), float(torch.stack(right).mean())


@torch.no_grad()
def measure(network, steps, classifier, seen, goal):
    features, right, kept, edged, flicker = [], [], [], [], []
    noise = torch.Generator().manual_seed(5)
    for number, name in enumerate(styles.NAMES):
        prompt = words.plain(name).prompt
        made = torch.cat([network.repaint(x, [prompt] * len(x), steps, 100 + i) for i, x in enumerate(seen.split(8))])
        f, says = found(classifier, made)
        features.append(f)
        right.append((says.argmax(1) == number).float().mean())
        kept.append(ssim(made, seen))
        edged.append(edges(made, seen))
        x = seen[:STILL]
        still = [network.repaint(x + 0.02 * torch.randn(x.shape, generator=noise), [prompt] * len(x), steps, 7)
                 for _ in range(3)]
        flicker += [(a - b).abs().mean() * 255 for a, b in zip(still, still[1:])]
    mean = lambda values: round(float(torch.stack(values).mean()), 3)
    return {"style": mean(right), "frechet": round(judge.frechet(torch.cat(features), goal), 3),
            "ssim": mean(kept), "edges": mean(edged), "flicker": mean(flicker), "ms": milliseconds(network, steps, seen)}


def milliseconds(network, steps, seen, turns=9):
    times = []
    for _ in range(turns):
        began = time.perf_counter()
        network.repaint(seen[:1], ["oil painting"], steps, 1)
        times.append(time.perf_counter() - began)
    return round(statistics.median(times) * 1e3, 1)


def table(rows):
    names = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    return "\n".join(lines + [f"| {row} | " + " | ".join(str(values[n]) for n in names) + " |" for row, values in rows.items()])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run's folder: teacher, judge and other students")
    parser.add_argument("student", help="the model's folder")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--json", help="write the figures there, too")
    options = parser.parse_args()
    for needed in (os.path.join(options.run, "judge.pt"), os.path.join(options.run, "teacher")):
        if not os.path.exists(needed):
            parser.error(f"{needed} is not there: these figures compare the networks of a training run; run `make spark` first")
    folders = {"teacher": os.path.join(options.run, "teacher"), "student": options.student}
    networks = {name: Network(folder) for name, folder in folders.items()}
    if not same_run(networks["student"], networks["teacher"]):
        own = os.path.join(options.run, "student")
        parser.error(f"{options.student} is of another run than {folders['teacher']}: their autoencoders differ. Take the "
                     "folder that this run's student was written to at its end (spark.py --output), or what it wrote on the "
                     f"way, {own} (with make: STUDENT=FOLDER)")
    others = []
    for name in sorted(name.rstrip("/") for name in glob.glob("student-*/", root_dir=options.run)):
        if finished(options.run, name):
            others.append(name)
        else:
            print(f"{name} is left out: there is no checkpoint of it that came to its end\n")
    networks |= {name: Network(os.path.join(options.run, name)) for name in others}
    clean, seen = pictures(options.pictures)
    classifier = judge.Judge().eval()
    classifier.load_state_dict(torch.load(os.path.join(options.run, "judge.pt"), map_location="cpu")["judge"])
    (goal, right), (again, _) = real(classifier, clean, 1), real(classifier, clean, 2)
    floor = judge.frechet(goal, again)
    print(f"really stylised: style {right:.3f}, frechet {floor:.3f} between two times\n")
    figures = {}
    for name, steps in ROWS + tuple((name, 1) for name in others):
        figures[f"{name}, {steps} step{'s' * (steps > 1)}"] = measure(networks[name], steps, classifier, seen, goal)
    print(table(figures))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"real": {"style": right, "frechet": floor}, **figures}, f, indent=2)


if __name__ == "__main__":
    main()
