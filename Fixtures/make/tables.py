"""Folders of outputs alone: torch's random numbers, and the schedulers' timesteps and sigmas."""

import torch
from cases import Outputs
from configurations import SCALED_LINEAR, SCHEDULERS
from pipelines import build_scheduler


def write_random(folder):
    outputs = Outputs(folder, "torch.Generator")
    lone = [1, 15, 16, 17, 100, 1000]
    mixed = [3, 16, 1, 17, 2, 33, 15, 100, 1]
    for seed in (0, 42, 2**32 + 5, 2**63 - 1, -1):
        calls = {f"n{size}": [size] for size in lone} | {"mixed": mixed, "again": [16, 16, 16]}
        for call, sizes in calls.items():
            generator = torch.Generator().manual_seed(seed)
            prefix = f"random.{seed}.{call}"
            draws = [torch.randn(size, generator=generator) for size in sizes]
            names = {str(i): outputs.put(f"{prefix}.{i}", draw) for i, draw in enumerate(draws)}
            outputs.case(prefix, "random", {}, names, seed=seed, sizes=sizes)
    outputs.write()


def write_schedulers(folder):
    outputs = Outputs(folder, "schedulers")
    for key, settings in SCHEDULERS.items():
        scheduler = build_scheduler({**SCALED_LINEAR, **settings})
        common = [1, 2, 3, 4, 6, 7, 10, 25, 50]
        for steps in range(1, 51) if key == "ancestral-trailing" else common:
            scheduler.set_timesteps(steps)
            prefix = f"schedulers.{key}.{steps}"
            names = {
                "timesteps": outputs.put(prefix + ".timesteps", scheduler.timesteps),
                "sigmas": outputs.put(prefix + ".sigmas", scheduler.sigmas),
            }
            config = {**SCALED_LINEAR, **settings}
            class_name = config.pop("class").__name__
            outputs.case(
                prefix,
                "scheduler",
                {},
                names,
                **{"class": class_name, "config": config, "steps": steps},
                init_noise_sigma=float(scheduler.init_noise_sigma),
                image_to_image=[slice_of(scheduler, steps, strength) for strength in (0.3, 0.5, 0.75, 1.0)],
            )
    outputs.write()


def slice_of(scheduler, steps, strength):
    """get_timesteps of the image-to-image pipelines."""
    begin = max(steps - min(int(steps * strength), steps), 0)
    return {"strength": strength, "begin": begin, "timesteps": scheduler.timesteps[begin:].tolist()}
