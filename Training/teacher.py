"""Stage 4: the teacher, a text-conditioned latent diffusion model on the paths of diffusion.py."""

import torch

import diffusion

# min-SNR weighting (Hang et al. 2023), with a floor so that high noise is learnt too. 1 / sigma^2 stands for the ratio of
# signal to noise, as if latents were of size 1. They are of LATENT_SIZE, 3, and the true ratio is nine times that: in the
# paper's terms MOST is a gamma of 45, where it takes 5, and LEAST a ratio of 0.9.
LEAST, MOST = 0.1, 5.0
PLAIN = 0.15  # share of paths that never saw the source
# Share of inputs at their path's start. PLAIN takes its part of them: 0.34 of all are just as image-to-image begins, 0.06
# are plain diffusion at such a timestep.
FIRST_STEP = 0.4
# Squares of differences between neighbouring cells are counted in: the same minimum, but what is fine, strokes and
# hatching, is learnt sooner; of plain squares it is the smallest part.
STEEP = 1.0


def pick(n, device):
    """Timesteps and the starts of their paths, [n] each: starts at every strength from 0.2 to 1."""
    def chance():
        return torch.rand(n, device=device)

    start = torch.randint(diffusion.STEPS // 5, diffusion.STEPS, (n,), device=device)
    t = torch.where(chance() < FIRST_STEP, start, (chance() * start).long().clamp(min=10))
    return t, torch.where(chance() < PLAIN, -1, start)


def loss(unet, source, goal, words):
    """Squares between predicted and true clean latents, and of how the error changes from cell to cell, weighted
    min(max(1 / sigma^2, LEAST), MOST); and the plain squares, to print."""
    n, device = len(goal), goal.device
    t, start = pick(n, device)
    noisy = diffusion.path(source, goal, torch.randn_like(goal), t, start)
    made = diffusion.clean(unet, noisy, t, words, diffusion.time_ids(n, device))
    weight = (1 / diffusion.sigmas(t) ** 2).clamp(LEAST, MOST).flatten()
    error = (made - goal) / diffusion.LATENT_SIZE
    off = error.square().mean((1, 2, 3))
    return (weight * (off + STEEP * steep(error))).mean(), off.mean()


def steep(x):
    """Mean squares of the differences between neighbouring cells, [B]."""
    across, down = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    return across.square().mean((1, 2, 3)) + down.square().mean((1, 2, 3))
