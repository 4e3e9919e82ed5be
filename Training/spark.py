"""Trains the embedded model and writes its folder.

    python spark.py --minutes 60      train that long in all, resuming from Training/runs/spark.pt if it is there
    python spark.py --quick           two minutes: every stage runs, the pictures are bad

Stopped and started again with the same --minutes, it goes on where it was.
"""

import argparse
import copy
import math
import os
import random
import signal
import sys
import time

# Threads that wait must sleep, not spin: training shares its cores. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

import autoencoder
import evaluate
import export
import pool
import student
import styles
import text

HERE = os.path.dirname(os.path.abspath(__file__))
# Share of the whole time up to which a stage runs.
STAGES = (("autoencoder", 0.2), ("text", 0.205), ("student", 1.0))
# Up to which share of the student's time, crops of how many pixels, how many a step: small and quick steps first.
CROPS = ((0.9, 128, 8), (math.inf, 192, 4))
# How often a style is practised, if not once: those near the photograph are learnt sooner.
PRACTICE = {"photo": 0.8, "comic": 1.3, "neon": 1.6, "mosaic": 1.3, "vintage": 0.6, "watercolour": 0.8}


class Run:
    """Everything that a checkpoint holds."""

    def __init__(self, options):
        self.options = options
        self.folder = os.path.join(HERE, "runs")
        os.makedirs(self.folder, exist_ok=True)
        self.vocabulary = os.path.join(self.folder, "vocabulary")
        count = text.write_vocabulary(self.vocabulary)
        self.tokenizers = text.tokenizers(self.vocabulary)
        torch.manual_seed(0)
        self.device = torch.device(options.device)
        self.vae = autoencoder.build().to(self.device, memory_format=torch.channels_last)
        unet = student.build().to(self.device, memory_format=torch.channels_last)
        head = student.StyleHead(3 * text.WIDTH, len(styles.NAMES))
        self.student = torch.nn.ModuleList([unet, *text.build(count), head]).to(self.device)
        self.average = {"vae": copy.deepcopy(self.vae), "student": copy.deepcopy(self.student)}
        self.optimizers = {
            "autoencoder": torch.optim.AdamW(self.vae.parameters(), 2e-3, weight_decay=0, betas=(0.9, 0.99)),
            "text": torch.optim.AdamW(self.student[1:].parameters(), 1e-3, weight_decay=0.01, betas=(0.9, 0.99)),
            "student": torch.optim.AdamW(
                [{"params": unet.parameters(), "peak": 1.2e-3}, {"params": self.student[1:].parameters(), "peak": 3e-4},
                 {"params": self.vae.decoder.parameters(), "peak": 4e-4}],
                1.2e-3, weight_decay=0.01, betas=(0.9, 0.99))}
        self.seconds, self.step, self.begun, self.stopped = 0.0, 0, 0, False
        self.path = os.path.join(self.folder, "spark.pt")
        if os.path.exists(self.path):
            self.load()
        self.rng = random.Random(self.step)
        torch.manual_seed(self.step + 1)
        self.pool = pool.Pool(self.step)

    def parts(self):
        return {"vae": self.vae, "student": self.student, "average_vae": self.average["vae"],
                "average_student": self.average["student"],
                **{f"optimizer_{name}": optimizer for name, optimizer in self.optimizers.items()}}

    def save(self):
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state |= {"seconds": self.seconds, "step": self.step, "scale": self.vae.config.scaling_factor}
        torch.save(state, self.path + ".new")
        os.replace(self.path + ".new", self.path)

    def load(self):
        state = torch.load(self.path, map_location=self.device)
        for name, part in self.parts().items():
            if name in state:
                part.load_state_dict(state[name])
        self.seconds, self.step = state["seconds"], state["step"]
        self.rescale(state["scale"])

    def rescale(self, factor):
        for vae in (self.vae, self.average["vae"]):
            vae.register_to_config(scaling_factor=factor)

    def progress(self):
        return self.seconds / (60 * self.options.minutes) if self.options.minutes else 1.0

    def write(self):
        """The folder and a contact sheet of the averaged weights."""
        vae, (unet, first, second, _) = (copy.deepcopy(self.average[n]).cpu() for n in ("vae", "student"))
        export.export(vae, unet, (first, second), self.vocabulary, self.options.output)
        pipe = evaluate.load(self.options.output)
        with torch.no_grad():
            evaluate.sheet(pipe, evaluate.held_out(), evaluate.prompts()).save(
                os.path.join(self.folder, f"sheet-{int(self.seconds / 60):03d}.png"))


@torch.no_grad()
def follow(average, model, step, decay):
    """Exponential moving average, quicker while the model is young."""
    decay = min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), model.parameters()):
        slow.lerp_(fast, 1 - decay)


def set_rate(optimizer, factor, peak=None):
    for group in optimizer.param_groups:
        group["lr"] = (peak or group["peak"]) * max(0.02, factor)


def half(run):
    return torch.autocast(run.device.type, torch.bfloat16)


def gathered(run, parts):
    """A batch where the networks are. The pool and the styles stay on the CPU."""
    return torch.stack(parts).to(run.device).contiguous(memory_format=torch.channels_last)


def step_autoencoder(run, done):
    """Half of what it sees are photographs, half any style."""
    side, n = 128, 16
    x = []
    for _ in range(n):
        slot = pool.FIRST if run.rng.random() < 0.5 else run.rng.randrange(len(styles.NAMES) + 1)
        x.append(run.pool.picture(run.pool.crop(side), slot, side))
    x = gathered(run, x)
    set_rate(run.optimizers["autoencoder"], 0.5 + 0.5 * math.cos(math.pi * done), 2e-3)
    with half(run):
        loss, restored = autoencoder.loss(run.vae, x)
    descend(run.optimizers["autoencoder"], loss, run.vae)
    follow(run.average["vae"], run.vae, run.step, 0.995)
    return {"loss": loss, "error": (restored - x).abs().mean()}


def prompts(run, names):
    return [ids.to(run.device) for ids in text.tokens(run.tokenizers, [styles.phrase(n, run.rng) for n in names])]


def step_text(run, done):
    """Teaches the encoders to tell the styles apart before the UNet listens to them."""
    names = [run.rng.choice(styles.NAMES) for _ in range(64)]
    _, first, second, head = run.student
    states, pooled = text.encode((first, second), prompts(run, names))
    loss = head.loss(states, pooled, torch.tensor([styles.NAMES.index(n) for n in names], device=run.device))
    descend(run.optimizers["text"], loss, run.student[1:])
    follow(run.average["student"], run.student, run.step, 0.99)
    return {"loss": loss}


def step_student(run, done):
    """The decoder learns on, from what the UNet makes; the encoder, and so what latents mean, stays."""
    side, n = next((side, n) for end, side, n in CROPS if done <= end)
    names = run.rng.choices(styles.NAMES, [PRACTICE.get(s, 1.0) for s in styles.NAMES], k=n)
    windows = [run.pool.crop(side) for _ in names]
    slots = [pool.FIRST + styles.NAMES.index(s) for s in names]
    scale = run.vae.config.scaling_factor
    z = gathered(run, [run.pool.latent(w, pool.SEEN, side) for w in windows]) * scale
    goal = gathered(run, [run.pool.latent(w, s, side) for w, s in zip(windows, slots)]) * scale
    picture = gathered(run, [run.pool.picture(w, s, side) for w, s in zip(windows, slots)])
    unet, first, second, head = run.student
    states, pooled = text.encode((first, second), prompts(run, names))
    set_rate(run.optimizers["student"], min(1, (1 - done) / 0.4))
    with half(run):
        made = student.denoise(unet, z, student.pick_timesteps(n).to(run.device), torch.randn_like(z), states, pooled,
                               student.time_ids(n).to(run.device))
        seen = autoencoder.decode(run.vae, made / scale)
    # Squares beside absolute values: the median alone leaves thin bright lines dark wherever noise hides them.
    off = (made - goal).float() / autoencoder.LATENT_SIZE
    latent = off.abs().mean() + off.square().mean()
    pixels = autoencoder.picture_loss(seen.float(), picture) + 4 * (seen.float() - picture).square().mean()
    words = head.loss(states, pooled, torch.tensor([s - pool.FIRST for s in slots], device=run.device))
    descend(run.optimizers["student"], latent + 2 * pixels + 0.02 * words, run.student)
    follow(run.average["student"], run.student, run.step - run.begun, 0.998)
    follow(run.average["vae"].decoder, run.vae.decoder, run.step - run.begun, 0.998)
    return {"latent": latent, "pixels": pixels, "words": words, "error": (seen - picture).abs().mean()}


def descend(optimizer, loss, model):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def encoder(run):
    """How the pool turns pictures into latents once the autoencoder is done."""
    def encode(x):
        with half(run):
            return autoencoder.encode(run.average["vae"], gathered(run, list(x))).float().cpu()
    return encode


def enter(run, stage):
    """What has to be there before a stage begins."""
    while len(run.pool.pictures) < 32:
        run.pool.renew()
    if stage == "student":
        run.vae.encoder.requires_grad_(False)
        if run.vae.config.scaling_factor == 1.0:
            run.vae.load_state_dict(run.average["vae"].state_dict())
            sample = torch.cat([p.float() / 255 for p in run.pool.pictures[:8]]).to(run.device)
            run.rescale(autoencoder.measure_scale(run.average["vae"], sample))
        run.pool.encode_all(encoder(run))
    run.begun = run.step
    print(f"stage {stage}, scaling_factor {run.vae.config.scaling_factor}", flush=True)


class Threads:
    """Tries now and then whether one thread fewer is quicker, as it is where others use a core."""

    def __init__(self, most):
        self.most, self.best = most, most
        self.begin(most)

    def begin(self, count):
        self.count, self.times = count, []
        torch.set_num_threads(count)

    def took(self, seconds):
        """To be told after each step. A round is some ten seconds with the best count and two steps with the other."""
        self.times.append(seconds)
        if self.most == 1:
            return
        if self.count == self.best and sum(self.times) > 10:
            self.usual = sorted(self.times[-7:])[len(self.times[-7:]) // 2]
            self.begin(self.most - 1 if self.best == self.most else self.most)
        elif self.count != self.best and len(self.times) == 2:
            if sum(self.times) / 2 < self.usual:
                self.best = self.count
            self.begin(self.best)


def train(run):
    steps = {"autoencoder": step_autoencoder, "text": step_text, "student": step_student}
    threads = Threads(run.options.threads)
    start = 0.0
    saved = written = time.monotonic()
    for stage, end in STAGES:
        if run.progress() >= end:
            start = end
            continue
        enter(run, stage)
        shown, sums, count = time.monotonic(), {}, 0
        while run.progress() < end:
            began = time.monotonic()
            report = steps[stage](run, (run.progress() - start) / (end - start))
            threads.took(time.monotonic() - began)
            run.step += 1
            if stage != "text" and run.step % 3 == 0:
                run.pool.renew(encoder(run) if stage == "student" else None)
            for name, value in report.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            count += 1
            run.seconds += time.monotonic() - began
            if time.monotonic() - shown > 20:
                print(f"{run.seconds / 60:6.1f} min  step {run.step:6d}  {stage}  pool {run.pool.written}  threads {threads.best}  "
                      + "  ".join(f"{k} {v / count:.4f}" for k, v in sums.items()), flush=True)
                shown, sums, count = time.monotonic(), {}, 0
            if run.stopped or time.monotonic() - saved > 120:
                run.save()
                saved = time.monotonic()
            if run.stopped:
                sys.exit(0)
            if stage == "student" and time.monotonic() - written > 60 * run.options.write_every:
                run.write()
                written = time.monotonic()
        start = end
        run.save()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="training time in all, earlier runs counted in")
    parser.add_argument("--quick", action="store_true", help="the same as --minutes 2")
    parser.add_argument("--output", default=os.path.join(HERE, "..", "Fixtures", "models", "spark"))
    parser.add_argument("--write-every", type=float, default=6, help="minutes between exports")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.quick:
        options.minutes = 2
    run = Run(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(run, "stopped", True))
    train(run)
    run.write()


if __name__ == "__main__":
    main()
