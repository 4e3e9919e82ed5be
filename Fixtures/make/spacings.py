"""Writes what the spacing of timesteps that a model's file names does to diffusers' pictures.

    python Fixtures/make/spacings.py

Fixtures/parity/spacings holds outputs.safetensors and outputs.json in the form of parity.py:

  inference_steps  I32 [100, 50], the fewest num_inference_steps of which the image-to-image pipelines
                   take k + 1 at strength (i + 1) / 100 in row i, column k
  scheduler cases  of lists of more and fewer betas than there are timesteps
  picture cases    of sd-tiny and sdxl-tiny (`model`) with other keys in their scheduler_config.json
                   (`scheduler`) and, in model_index.json, another class (`class`)
"""

import diffusers
import PIL.Image
import torch
import transformers
from cases import Outputs, picture
from configurations import PIPELINES
from parity import PARITY
from pipelines import build_scheduler, load
from pictures import pixels_of, without_checker

SIZE = (64, 48)
EULER, ANCESTRAL = diffusers.EulerDiscreteScheduler, diffusers.EulerAncestralDiscreteScheduler
LEADING, LINSPACE = {"timestep_spacing": "leading"}, {"timestep_spacing": "linspace"}
PICTURES = [
    # name, model, class, keys, num_inference_steps, strength (None: from text), seed
    ("xl-leading", "sdxl-tiny", EULER, {**LEADING, "steps_offset": 70}, 7, 0.6, 5),
    ("xl-leading-text", "sdxl-tiny", ANCESTRAL, {**LEADING, "steps_offset": 0}, 3, None, 6),
    ("xl-linspace-text", "sdxl-tiny", EULER, LINSPACE, 4, None, 7),
    # Pipelines of Stable Diffusion put 1 in the offset's place.
    ("sd-leading", "sd-tiny", ANCESTRAL, {**LEADING, "steps_offset": 70}, 5, 0.45, 8),
    ("sd-leading-text", "sd-tiny", EULER, {**LEADING, "steps_offset": 70}, 2, None, 9),
    ("sd-linspace", "sd-tiny", ANCESTRAL, LINSPACE, 6, 0.5, 10),
]
BETAS = {
    "fewer": {"num_train_timesteps": 1000, "trained_betas": [0.01, 0.02, 0.05]},
    "more": {"num_train_timesteps": 5, "trained_betas": [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4]},
}


def taken(total, strength):
    """How many steps get_timesteps of the image-to-image pipelines leaves."""
    return min(int(total * strength), total)


def fewest(steps, strength):
    total = steps
    while taken(total, strength) < steps:
        total += 1
    assert taken(total, strength) == steps, (steps, strength)
    return total


def write_betas(outputs):
    for key, betas in BETAS.items():
        for spacing in (LEADING, LINSPACE, {"timestep_spacing": "trailing"}):
            scheduler = build_scheduler({"class": EULER, **betas, **spacing})
            scheduler.set_timesteps(3)
            prefix = f"betas.{key}.{spacing['timestep_spacing']}"
            names = {
                "timesteps": outputs.put(prefix + ".timesteps", scheduler.timesteps),
                "sigmas": outputs.put(prefix + ".sigmas", scheduler.sigmas),
            }
            config = {**betas, **spacing}
            more = {"class": EULER.__name__, "config": config, "steps": 3}
            sigma = float(scheduler.init_noise_sigma)
            outputs.case(prefix, "scheduler", {}, names, **more, init_noise_sigma=sigma)


def pipeline(model, scheduler_class, keys, strength):
    settings = PIPELINES[model]
    parts = load(PARITY / model, settings).components
    made = settings["pipeline"] if strength is None else settings["image_to_image"]
    parts["scheduler"] = scheduler_class.from_config(dict(parts["scheduler"].config), **keys)
    pipe = made(**parts, **without_checker(settings))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def write_picture(outputs, image, name, model, scheduler_class, keys, total, strength, seed):
    pipe = pipeline(model, scheduler_class, keys, strength)
    width, height = SIZE
    source = {"image": PIL.Image.fromarray(outputs.tensors[image].numpy()), "strength": strength}
    found = pipe(
        prompt="a photo of a cat",
        num_inference_steps=total,
        guidance_scale=0.0,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
        **({"width": width, "height": height} if strength is None else source),
    ).images[0]
    pixels = pixels_of(found)
    steps = total if strength is None else taken(total, strength)
    assert strength is None or fewest(steps, strength) == total, name
    outputs.case(
        name,
        "picture",
        {} if strength is None else {"image": image},
        {"image": outputs.put(f"{name}.image", pixels)},
        **{"model": model, "class": scheduler_class.__name__, "scheduler": keys},
        prompt="a photo of a cat",
        seed=seed,
        width=width,
        height=height,
        strength=strength,
        evaluations=steps,
    )


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    diffusers.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    outputs = Outputs(PARITY / "spacings", "spacings")
    table = [[fewest(steps, i / 100) for steps in range(1, 51)] for i in range(1, 101)]
    outputs.put("inference_steps", torch.tensor(table, dtype=torch.int32))
    write_betas(outputs)
    image = outputs.put("input", picture(*SIZE))
    for call in PICTURES:
        write_picture(outputs, image, *call)
    outputs.write()


if __name__ == "__main__":
    main()
