"""Stage 3: a classifier of styles, trained apart from everything else, that only measures.

Its answers give style accuracy, its features the Fréchet distance. Neither teacher nor student ever sees it.
"""

import torch
import torch.nn.functional as F
from torch import nn

import styles

WIDTH = 64


class Judge(nn.Module):
    """Pictures in 0...1 [B, 3, H, W] to features [B, WIDTH] and logits [B, styles]."""

    def __init__(self):
        super().__init__()
        sizes = (3, 24, 32, 48, WIDTH)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(8, b), nn.SiLU(),
                          nn.Conv2d(b, b, 3, 2, padding=1), nn.GroupNorm(8, b), nn.SiLU())
            for a, b in zip(sizes, sizes[1:]))
        self.names = nn.Linear(WIDTH, len(styles.NAMES))

    def forward(self, x):
        x = x * 2 - 1
        for level in self.levels:
            x = level(x)
        found = x.mean((2, 3))
        return found, self.names(found)

    def loss(self, x, style):
        return F.cross_entropy(self(x)[1], style)


def frechet(a, b):
    """Fréchet distance between two sets of features [N, D], each taken as a Gaussian (Heusel et al. 2017)."""
    a, b = a.double(), b.double()
    first, second = torch.cov(a.T), torch.cov(b.T)
    # The square root of a product of two covariances has the square roots of its eigenvalues.
    roots = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + first.trace() + second.trace() - 2 * roots)
