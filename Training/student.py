"""Stage 5: Adversarial Diffusion Distillation (Sauer et al. 2023, arXiv 2311.17042), in the latent space.

The paper's objective for the student G, equation (1) there:

    L = L_adv(x_G, phi) + lambda L_distill(x_G, psi)          x_G = G(x_s, s), s in T_student

    L_adv     = -E sum_k D_k(F_k(x_G))                                   hinge, equation (2)
    L_D       =  E sum_k max(0, 1 - D_k(F_k(x_0))) + gamma R1 + max(0, 1 + D_k(F_k(x_G)))              equation (3)
    L_distill =  E c(t) || x_G - stop(x_psi(stop(x_G) noised to t, t)) ||^2, c(t) = alpha_t            equation (4)

As there: the student begins as a copy of the teacher, which stays frozen; heads D_k sit on features of several depths
of a frozen network, each with R1 (gamma = 1e-5) on its input, and are conditioned on text by projection (Miyato and
Koyama 2018) and on the input picture; lambda = 2.5.

What differs, and why:
- F is the teacher's own encoder at a random noise level, as in LADD (Sauer et al. 2024, arXiv 2403.12015): the paper's
  DINOv2 is pretrained, and nothing pretrained is used here. It also means that nothing is decoded to pixels in training.
- Paired pictures exist, so D sees the input picture at the same depth and noise beside the output, not an embedding.
- The student's inputs lie on the path from photograph to stylised picture (diffusion.py), not on noised goals alone.
- T_student is {1 ... 8} * 1000/8 - 1, where the paper has four: four steps of image-to-image at strength 0.5 are the
  lower half of eight, so four of eight are what a picture begun at the middle goes through.
- L_adv is the mean of the heads, not equation (2)'s sum, so that its weight says nothing of their number; L_D is summed.
- Squares in L_distill are of latents over their standard deviation: their mean is far smaller than that of pixels, so
  L_adv is scaled by ADVERSARIAL to keep lambda the paper's.
- t of L_distill is not uniform over all timesteps: it is U(0, 1) * U(200, 1000), at least 20, since half of the time it
  lies on a path from the photograph that starts at the second factor. 40 % of the draws are below 200, where sigma is
  under 0.6 beside latents of 3: there the teacher's target is nearly its input, and says little.
- D sees a window of the picture whose place is drawn anew, and nothing in its heads is normalised over the picture. A
  student of an hour found otherwise that one bright line along its lower border, in every blueprint, made all else
  look small (as the droplets of Karras et al. 2020, arXiv 1912.04958, section 2).
- A third term, PAIRED, holds the means over squares of PATCH cells to those of the paired picture: where light and
  colour belong is known, and only what is finer than a patch is left to D.
"""

import torch
import torch.nn.functional as F
from torch import nn

import diffusion
import text
import transfer

ADVERSARIAL = 0.2
LAMBDA = 2.5
PAIRED = 2.5
GAMMA = 1e-5
PATCH = 4  # cells; 16 pixels, what regular patterns repeat in (styles.py)
WINDOW = 0.75  # of the picture's side
TIMESTEPS = (124, 249, 374, 499, 624, 749, 874, 999)
# Strength 0.5 is what the live filter begins with, 0.75 and 0.25 are used; 1 loses the scene. Of the 37 % at its timestep 28
# begin there, 0.37 * (0.7 + 0.3 / 5) in pick; the others come from higher strengths.
SHARES = (0.08, 0.15, 0.1, 0.37, 0.08, 0.12, 0.03, 0.07)


def pick(n, device):
    """The student's timesteps and where their paths started: at themselves for one step, or earlier."""
    k = torch.multinomial(transfer.constant(SHARES, device), n, True)
    later = (k + (torch.rand(n, device=device) * (len(TIMESTEPS) - k)).long()).clamp(max=len(TIMESTEPS) - 1)
    start = torch.where(torch.rand(n, device=device) < 0.7, k, later)
    steps = transfer.constant(TIMESTEPS, device)
    return steps[k], steps[start]


class Features(nn.Module):
    """F: what the teacher's encoder makes of noisy latents, the output of each level going down and of the middle.
    Called as the UNet is."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, x, t, states, added_cond_kwargs):
        unet = self.unet
        embedding = unet.time_embedding(unet.time_proj(t).to(x.dtype))
        embedding = embedding + unet.get_aug_embed(embedding, states, added_cond_kwargs)
        x, found = unet.conv_in(x), []
        for block in unet.down_blocks:
            x, passed = block(x, embedding, encoder_hidden_states=states) if hasattr(block, "attentions") else block(x, embedding)
            # The last before down-sampling.
            found.append(passed[-2] if block.downsamplers else passed[-1])
        found.append(unet.mid_block(x, embedding, encoder_hidden_states=states))
        return found


class Head(nn.Module):
    """One discriminator D_k: features of output and input picture [B, 2C, h, w] to logits [B, h, w]."""

    def __init__(self, channels, width=64):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2 * channels, width, 1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU())
        self.logit = nn.Conv2d(width, 1, 1)
        self.words = nn.Linear(text.WIDTH, width)
        # Mean squares of each channel over the pictures seen so far: features of every depth come in at the same size.
        self.register_buffer("squares", torch.zeros(2 * channels))
        self.register_buffer("measured", torch.zeros(()))

    @torch.no_grad()
    def measure(self, x):
        self.measured += 1
        self.squares.lerp_(x.float().square().mean((0, 2, 3)), (1 / self.measured).clamp(min=0.01))

    def forward(self, x, pooled):
        x = self.body(x / (self.squares.sqrt()[:, None, None] + 1e-3))
        return self.logit(x)[:, 0] + torch.einsum("bchw,bc->bhw", x, self.words(pooled)) / x.shape[1] ** 0.5


class Discriminator(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.heads = nn.ModuleList(Head(c) for c in channels)

    def forward(self, found, beside, pooled):
        return [head(torch.cat([a, b], 1), pooled) for head, a, b in zip(self.heads, found, beside)]

    def measure(self, real, beside):
        for head, a, b in zip(self.heads, real, beside):
            head.measure(torch.cat([a, b], 1))

    def loss(self, real, made, beside, words):
        """Equation (3): hinge on both, R1 on the heads' inputs of real pictures."""
        real = [f.detach().float().requires_grad_() for f in real]
        made = [f.detach() for f in made]
        says = self(real, beside, words.pooled)
        slopes = torch.autograd.grad(sum(s.sum() for s in says), real, create_graph=True)
        r1 = sum(s.square().sum() for s in slopes) / len(real[0])
        hinge = sum(F.relu(1 - s).mean() for s in says) + sum(F.relu(1 + s).mean() for s in self(made, beside, words.pooled))
        return hinge + GAMMA * r1


def channels(unet):
    return [*unet.config.block_out_channels, unet.config.block_out_channels[-1]]


def window(*latents):
    """The same window of each, at a place drawn anew that keeps the patterns' phase."""
    cells, step = latents[0].shape[-1], PATCH
    side = int(cells * WINDOW) // step * step
    y, x = (int(torch.randint((cells - side) // step + 1, ())) * step for _ in range(2))
    return [z[..., y : y + side, x : x + side] for z in latents]


def coarse(x):
    return F.avg_pool2d(x, PATCH)


def judged(features, goal, source, made, words, t, noise, ids):
    """Features of three batches of latents at one noise, by the frozen network F. Only what was made leads back."""
    def noisy(x):
        return diffusion.given(x + diffusion.sigmas(t) * noise, t)

    with torch.no_grad():
        twice = diffusion.Words(words.states.repeat(2, 1, 1), words.pooled.repeat(2, 1))
        both = features(torch.cat([noisy(goal), noisy(source)]), t.repeat(2), twice.states, twice.conditions(ids.repeat(2, 1)))
    real, seen = zip(*(f.chunk(2) for f in both))
    return real, seen, features(noisy(made), t, words.states, words.conditions(ids))


def distill(teacher, source, made, words, ids):
    """Equation (4). Half of the time the teacher sees what would still be left of the photograph on the way."""
    n, device = len(made), made.device
    with torch.no_grad():
        start = torch.randint(200, diffusion.STEPS, (n,), device=device)
        t = (torch.rand(n, device=device) * start).long().clamp(min=20)
        start = torch.where(torch.rand(n, device=device) < 0.5, -1, start)
        noisy = diffusion.path(source, made.detach(), torch.randn_like(made), t, start)
        goal = diffusion.clean(teacher, noisy, t, words, ids)
    alpha = 1 / (diffusion.sigmas(t) ** 2 + 1).sqrt()
    return (alpha * ((made - goal) / diffusion.LATENT_SIZE).square()).mean()


def losses(student, teacher, features, discriminator, source, goal, words, adversarial=True, distilled=True):
    """Both sides of one step: the student's loss, the discriminator's, and figures to print.

    features: F, of the teacher. source, goal: scaled latents [B, 8, h, w] of photograph and stylised picture. The student's loss must be
    differentiated with respect to the student's parameters alone, the discriminator's to its own.
    """
    n, device = len(goal), goal.device
    t, start = pick(n, device)
    ids = diffusion.time_ids(n, device)
    noisy = diffusion.path(source, goal, torch.randn_like(goal), t, start)
    made = diffusion.clean(student, noisy, t, words, ids)
    error = (made - goal) / diffusion.LATENT_SIZE
    report = {"error": error.square().mean(), "paired": coarse(error).square().mean()}
    theirs = made.sum() * 0
    ours = PAIRED * report["paired"]
    if adversarial:
        at = torch.randint(20, 700, (n,), device=device)
        parts = window(goal, source, made)
        real, seen, fake = judged(features, *parts, words, at, torch.randn_like(parts[0]), ids)
        discriminator.measure(real, seen)
        says = discriminator(fake, seen, words.pooled)
        report["adversarial"] = -sum(s.mean() for s in says) / len(says)
        ours = ours + ADVERSARIAL * report["adversarial"]
        theirs = discriminator.loss(real, fake, seen, words)
        report["discriminator"] = theirs
    if distilled:
        report["distillation"] = distill(teacher, source, made, words, ids)
        ours = ours + LAMBDA * report["distillation"]
    return ours, theirs, report
