"""What one training step of each stage does. A stage is a function of the run and of how far it is, 0...1."""

import math

import torch

import autoencoder
import diffusion
import pool
import styles
import student
import teacher
import text
import transfer
import words

HEED = 4  # teacher steps to one of the text encoders


def half(run):
    return torch.autocast(run.device.type, torch.bfloat16, enabled=run.halves)


def descend(optimizer, loss, *models):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for model in models:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


@torch.no_grad()
def follow(average, model, step, decay):
    """Exponential moving average, quicker while the model is young."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_([*average.parameters()], [*model.parameters()], 1 - decay)


def warm(step, done, fade):
    """A short rise, then the whole rate, then down to a fiftieth over the last share `fade`."""
    return min(1.0, (step + 1) / 50) * max(0.02, min(1.0, (1 - done) / fade))


def set_rate(optimizer, factor):
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def listen(run, prompts):
    ids = [transfer.send(i, run.device) for i in text.tokens(run.tokenizers, prompts)]
    return diffusion.Words(*text.encode(run.encoders, ids))


def autoencode(run, done):
    """Half of what it sees are photographs, half any style."""
    side, n = run.size.side, run.size.pictures
    windows = run.pool.windows(side, n)
    slots = [pool.FIRST if run.rng.random() < 0.5 else run.rng.randrange(len(styles.NAMES) + 1) for _ in range(n)]
    x = run.pool.crops(windows, transfer.send(slots, run.device), side).contiguous(memory_format=run.layout)
    optimizer = run.optimizers["autoencoder"]
    set_rate(optimizer, 0.5 + 0.5 * math.cos(math.pi * done))
    with half(run):
        loss, restored = autoencoder.loss(run.vae, x)
    descend(optimizer, loss, run.vae)
    follow(run.average["vae"], run.vae, run.stage_step, 0.995)
    return {"loss": loss, "error": (restored - x).abs().mean()}


def read(run, done):
    """Teaches the text encoders to tell styles, mixtures and amounts before the UNet listens to them."""
    asked = [words.request(run.rng) for _ in range(64)]
    heard = listen(run, [r.prompt for r in asked])
    loss = run.head.loss(heard, asked)
    set_rate(run.optimizers["text"], warm(run.stage_step, done, 0.5))
    descend(run.optimizers["text"], loss, run.encoders, run.head)
    return {"loss": loss}


def judge(run, done):
    """The classifier that only measures: stylised pictures, a little noisy, half of them as the autoencoder gives them
    back, whose softness says nothing of a style."""
    side, n = run.size.side, run.size.pictures
    asked = transfer.send([run.rng.randrange(len(styles.NAMES)) for _ in range(n)], run.device)
    x = run.pool.crops(run.pool.windows(side, n), pool.FIRST + asked, side).contiguous(memory_format=run.layout)
    vae = run.average["vae"]
    with torch.no_grad(), half(run):
        restored = autoencoder.decode(vae, autoencoder.encode(vae, x[: n // 2])).float().clamp(0, 1)
    x = torch.cat([restored, x[n // 2 :]])
    x = x + torch.rand(n, 1, 1, 1, device=run.device) * 0.05 * torch.randn_like(x)
    set_rate(run.optimizers["judge"], warm(run.stage_step, done, 0.5))
    with half(run):
        loss = run.judge.loss(x.contiguous(memory_format=run.layout), asked)
    descend(run.optimizers["judge"], loss, run.judge)
    return {"loss": loss}


def pairs(run, side, n):
    """Latents of webcam pictures and of what was asked for, scaled, and the requests."""
    asked = [words.request(run.rng) for _ in range(n)]
    windows = run.pool.windows(side, n)
    both = torch.cat([run.pool.seen(windows, side), run.pool.wanted(windows, asked, side)])
    with torch.no_grad(), half(run):
        z = autoencoder.encode(run.average["vae"], both.contiguous(memory_format=run.layout)).float()
    source, goal = (z * run.vae.config.scaling_factor).chunk(2)
    return source, goal, asked


def teach(run, done):
    """The teacher, and every HEED-th step the text encoders, which know their styles already and move little."""
    source, goal, asked = pairs(run, *run.size.crop(done))
    heeding = run.stage_step % HEED == 0
    with torch.set_grad_enabled(heeding):
        heard = listen(run, [r.prompt for r in asked])
    set_rate(run.optimizers["teacher"], warm(run.stage_step, done, 0.4))
    with half(run):
        loss, error = teacher.loss(run.teacher, source, goal, heard if heeding else heard.apart())
    with torch.set_grad_enabled(heeding):
        named = run.head.loss(heard, asked)
    descend(run.optimizers["teacher"], loss + 0.02 * named if heeding else loss, run.teacher, run.encoders, run.head)
    follow(run.average["teacher"], run.teacher, run.stage_step, 0.998)
    return {"loss": loss, "error": error, "words": named}


def distil(run, done):
    """The student against the discriminator, beside the frozen teacher; words as the teacher knows them."""
    source, goal, asked = pairs(run, *run.size.crop(done))
    with torch.no_grad():
        heard = listen(run, [r.prompt for r in asked])
    rate = warm(run.stage_step, done, 0.4)
    for name in ("student", "discriminator"):
        set_rate(run.optimizers[name], rate)
    with half(run):
        ours, theirs, report = student.losses(
            run.student, run.average["teacher"], run.features, run.discriminator, source, goal, heard,
            adversarial=run.options.without != "adversarial", distilled=run.options.without != "distillation")
    descend(run.optimizers["student"], ours, run.student)
    if run.options.without != "adversarial":
        descend(run.optimizers["discriminator"], theirs, run.discriminator)
    follow(run.average["student"], run.student, run.stage_step, 0.999)
    return report
