"""Parts of Training/ by themselves, in seconds; check.py runs them."""

import os
import sys
from types import SimpleNamespace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Training"))

import torch

import diffusion


class Oracle:
    """In a UNet's place: predicts `goal` from whatever it is given, and keeps what that was, with the timestep."""

    def __init__(self, goal):
        self.goal, self.given = goal, []

    def __call__(self, x, t, states, added_cond_kwargs):
        sigma = diffusion.sigmas(t)
        root = (sigma**2 + 1).sqrt()
        self.given.append((int(t[0]), x * root))
        return SimpleNamespace(sample=(x - self.goal * root) / sigma)


def sampling_keeps_to_the_path():
    """What the sampler gives to a network that is always right lies, in mean and spread, where equation (1) says."""
    torch.manual_seed(0)
    source, goal = torch.full((64, 8, 32, 32), 3.0), torch.full((64, 8, 32, 32), -2.0)
    for strength, count in ((0.5, 4), (0.8, 3)):
        oracle = Oracle(goal)
        made = diffusion.repaint(oracle, source, diffusion.Words(None, None), strength, count)
        assert (made - goal).abs().max() < 1e-4
        start = torch.full((len(source),), oracle.given[0][0])
        assert [t for t, _ in oracle.given] == diffusion.timesteps(strength, count)
        for number, given in oracle.given:
            t = torch.full_like(start, number)
            mean, sigma = diffusion.path(source, goal, 0 * source, t, start), diffusion.sigmas(t)[0].item()
            assert (given - mean).mean().abs() < 0.01 * sigma, f"timestep {number}: {given.mean()}, not {mean.mean()}"
            assert abs((given - mean).std() / sigma - 1) < 0.01, f"timestep {number}: {(given - mean).std()}, not {sigma}"
