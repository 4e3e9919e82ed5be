"""Cases of whole pictures, by the pipelines' own calls."""

import sys

import bpe
import diffusers
import PIL.Image
import torch
from cases import picture, relative_error
from pipelines import load

PICTURE_CALLS = [
    # name, num_inference_steps, strength (None: from text), which of the two sizes, prompt, seed
    ("img2img-1", 2, 0.5, 0, "a photo of a cat", 0),
    ("img2img-1-odd", 2, 0.5, 1, "pixel art of a small castle, sixteen colours!", 42),
    ("img2img-2", 4, 0.5, 0, "", 7),
    ("img2img-full", 3, 1.0, 0, bpe.PROMPTS[40], 11),
    ("text2img-1", 1, None, 0, "An Oil Painting of a LIGHTHOUSE by the sea", 2**32 + 5),
    ("text2img-4", 4, None, 0, "wow! really! yes!", 3),
]


def write_pictures(outputs, settings):
    for width, height in settings["pictures"]:
        outputs.put(f"input.{width}x{height}", picture(width, height))
    runs = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        text_to_image = load(outputs.folder, settings, dtype)
        image_to_image = settings["image_to_image"](**text_to_image.components, **without_checker(settings))
        image_to_image.set_progress_bar_config(disable=True)
        for call in PICTURE_CALLS:
            pipe = text_to_image if call[2] is None else image_to_image
            with noise_in_float32():
                runs[call[0], dtype] = run_picture(pipe, call, settings["pictures"][call[3]])
    for call in PICTURE_CALLS:
        write_picture(outputs, call, settings["pictures"][call[3]], runs)


def without_checker(settings):
    single = settings["pipeline"] is diffusers.StableDiffusionPipeline
    return {"requires_safety_checker": False} if single else {}


class noise_in_float32:
    """Draws float32 noise and rounds it, for torch draws other numbers in other types."""

    def __enter__(self):
        self.modules = [
            module
            for key, module in list(sys.modules.items())
            if key.startswith("diffusers.") and "randn_tensor" in vars(module)
        ]
        self.original = self.modules[0].randn_tensor
        for module in self.modules:
            module.randn_tensor = self.draw

    def draw(self, shape, generator=None, device=None, dtype=None, layout=None):
        return self.original(shape, generator=generator, device=device, dtype=torch.float32).to(dtype)

    def __exit__(self, *_):
        for module in self.modules:
            module.randn_tensor = self.original


def pixels_of(found):
    """A pipeline's picture, [3, H, W] from 0 to 1, as rgb24 [H, W, 3]. One that is nearly flat would test nothing."""
    pixels = (found.permute(1, 2, 0) * 255).round().to(torch.uint8)
    levels = len(pixels.unique())
    assert levels > 64, f"{levels} levels"
    return pixels


def run_picture(pipe, call, size):
    _, steps, strength, _, prompt, seed = call
    width, height = size
    latents, timesteps = [], []
    prepare = pipe.prepare_latents

    def remember_start(*arguments, **keywords):
        latents.append(prepare(*arguments, **keywords))
        return latents[-1]

    def remember_step(_, index, timestep, values):
        latents.append(values["latents"])
        timesteps.append(float(timestep))
        return values

    if strength is None:
        target = {"width": width, "height": height}
    else:
        image = PIL.Image.fromarray(picture(width, height).numpy())
        target = {"image": image, "strength": strength}
    pipe.prepare_latents = remember_start
    result = pipe(
        prompt=prompt,
        num_inference_steps=steps,
        guidance_scale=0.0,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
        callback_on_step_end=remember_step,
        **target,
    )
    pipe.prepare_latents = prepare
    return {"latents": latents, "timesteps": timesteps, "image": result.images[0].permute(1, 2, 0)}


def write_picture(outputs, call, size, runs):
    key, steps, strength, _, prompt, seed = call
    run, rough, exact = (runs[key, dtype] for dtype in (torch.float32, torch.bfloat16, torch.float64))
    width, height = size
    prefix = f"picture.{key}"
    names = {
        f"latents.{index}": outputs.put(f"{prefix}.latents.{index}", tensor)
        for index, tensor in enumerate(run["latents"])
    }
    pixels = (run["image"] * 255).round().to(torch.uint8)
    assert pixels.shape == (height, width, 3), pixels.shape
    names["image"] = outputs.put(f"{prefix}.image", pixels)
    outputs.case(
        prefix,
        "picture",
        {} if strength is None else {"image": f"input.{width}x{height}"},
        names,
        prompt=prompt,
        seed=seed,
        width=width,
        height=height,
        steps=steps,
        strength=strength,
        evaluations=len(run["timesteps"]),
        timesteps=run["timesteps"],
        bf16_error={"image": relative_error(rough["image"], run["image"])},
        bf16_max_error=float(f"{(rough['image'].float() - run['image']).abs().max():.4g}"),
        f32_error={"image": relative_error(run["image"], exact["image"])},
    )
