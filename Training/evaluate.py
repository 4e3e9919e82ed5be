"""The contact sheet: held-out photographs by styles, made with the exported folder by diffusers itself.

    python evaluate.py FOLDER [--sheet FILE] [--strength 0.5] [--steps 1] [--flops]
"""

import argparse

import torch
from diffusers import AutoPipelineForImage2Image
from PIL import Image, ImageDraw, ImageFont

import data
import diffusion
import styles
import words

EXTRA = ["", "qwxz blorf", "slightly neon", "oil painting and neon lights"]


def inference(steps, strength):
    """What makes diffusers run so many steps from the strength's own timestep, as turbocam does: it runs the last
    int(num_inference_steps * strength) of num_inference_steps, so steps / strength has to be whole."""
    if not 0 < strength <= 1 or steps < 1:
        raise ValueError(f"strength {strength:g} and {steps} step(s): it should be above 0 and at most 1, they at least 1")
    whole = round(steps / strength)
    # Nearer than the timesteps are to each other.
    if abs(whole * strength - steps) > 5e-4 * steps:
        near = ", ".join(f"{steps / n:.4g}" for n in (whole + 1, whole, whole - 1) if n >= steps)
        raise ValueError(f"diffusers cannot run {steps} step(s) at strength {strength:g}: {steps} / {strength:g} should be a "
                         f"whole number. Strengths near it: {near}")
    # Half a step more, so that int() does not fall short where the product is 0.999...
    return {"num_inference_steps": whole, "strength": min(1.0, (steps + 0.5) / whole)}


def repaint(pipe, picture, prompt, seed=1, strength=0.5, steps=1):
    """One step, as the live filter runs by default."""
    made = pipe(prompt=prompt, image=picture, **inference(steps, strength), guidance_scale=0.0,
                generator=torch.Generator().manual_seed(seed), output_type="pil").images[0]
    ran, wanted = pipe.scheduler.timesteps[-pipe.num_timesteps :].tolist(), diffusion.timesteps(strength, steps)
    near = len(ran) == steps and all(abs(a - b) <= 1 for a, b in zip(ran, wanted))
    assert near, f"diffusers ran at the timesteps {ran}, not {wanted}"
    return made


def sheet(pipe, pictures=None, prompts=None, strength=0.5, steps=1, cell=192, label=16, across=10):
    """Rows are pictures, columns prompts, `across` of them side by side and the rest below; the first column of each
    band is what went in."""
    pictures, prompts = pictures or held_out(), prompts or all_prompts()
    bands = [prompts[first : first + across] for first in range(0, len(prompts), across)]
    height = label + cell * len(pictures)
    page = Image.new("RGB", (cell * (1 + min(across, len(prompts))), height * len(bands)), "white")
    draw = ImageDraw.Draw(page)
    for number, band in enumerate(bands):
        top = number * height
        for column, name in enumerate(["input"] + [p or '""' for p in band]):
            draw.text((column * cell + 4, top + 1), name, fill="black", font=ImageFont.load_default(12))
        for row, picture in enumerate(pictures):
            made = [picture] + [repaint(pipe, picture, prompt, strength=strength, steps=steps) for prompt in band]
            for column, one in enumerate(made):
                page.paste(one.resize((cell, cell), Image.LANCZOS), (column * cell, top + label + row * cell))
    return page


def held_out():
    """Whole pictures, and a face near enough to fill the frame as before a webcam."""
    astronaut, coffee = (data.photograph(n) for n in data.HELD_OUT)
    return [data.square(astronaut), data.square(astronaut.crop((100, 0, 350, 250))), data.square(coffee)]


def all_prompts():
    return [words.plain(n).prompt for n in styles.NAMES] + EXTRA


def load(folder):
    pipe = AutoPipelineForImage2Image.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def count_flops(pipe):
    """GFLOP (two a multiply-add) of one 256x256 frame: what runs each time, text encoders left out."""
    from torch.utils.flop_counter import FlopCounterMode

    counts = {}
    unet, vae = pipe.unet, pipe.vae
    width = unet.config.cross_attention_dim
    conditions = {"text_embeds": torch.randn(1, pipe.text_encoder_2.config.projection_dim), "time_ids": torch.zeros(1, 6)}
    parts = {"encode": lambda: vae.encoder(torch.rand(1, 3, 256, 256)),
             "unet": lambda: unet(torch.randn(1, 8, 64, 64), 499, torch.randn(1, 77, width), added_cond_kwargs=conditions),
             "decode": lambda: vae.decoder(torch.rand(1, 8, 64, 64))}
    with torch.no_grad():
        for name, run in parts.items():
            with FlopCounterMode(display=False) as counter:
                run()
            counts[name] = counter.get_total_flops() / 1e9
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--sheet")
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--flops", action="store_true")
    options = parser.parse_args()
    try:
        inference(options.steps, options.strength)
    except ValueError as error:
        parser.error(str(error))
    torch.set_num_threads(2)
    pipe = load(options.folder)
    if options.flops:
        counts = count_flops(pipe)
        print(" ".join(f"{k} {v:.2f}" for k, v in counts.items()), f"GFLOP, together {sum(counts.values()):.2f}")
    if options.sheet:
        sheet(pipe, strength=options.strength, steps=options.steps).save(options.sheet, quality=85)


if __name__ == "__main__":
    main()
