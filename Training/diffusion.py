"""The UNet, the noise, and the path from a photograph to a stylised picture that teacher and student are trained on.

Image-to-image begins at the noised photograph, x + sigma_s e at the timestep s that the strength says, and steps of the
ancestral Euler sampler then go towards what the network predicts, the stylised picture y. A step from sigma to sigma'
goes down to sigma_down = sigma'^2 / sigma, so that it keeps the share sigma_down / sigma = (sigma' / sigma)^2 of what
the input and y differ by, and draws new noise until there is sigma' of it. The shares of several steps multiply: at
timestep t, however many steps led there, it is

    x_t = y + (sigma_t / sigma_s)^2 (x - y) + sigma_t e                                                      (1)

A diffusion model trained on y alone never sees such inputs; ours is trained on (1) with all s >= t. It needs nothing
but the usual pipeline: the scene comes in through x_t as it does with any model, the words decide what y is.
"""

import functools

import torch
from diffusers import EulerAncestralDiscreteScheduler, UNet2DConditionModel

import text
import transfer

# SDXL's size, crop and target size of a picture of 256x256.
SIZES = (256.0, 256.0, 0.0, 0.0, 256.0, 256.0)
# Latents as the UNet sees them have this standard deviation: at strength 0.5 the scene survives the noise.
LATENT_SIZE = 3.0
STEPS = 1000


def build():
    """Three levels. Attention only on the lowest, a sixteenth of the picture each way, where it is nearly free."""
    return UNet2DConditionModel(
        sample_size=64, in_channels=8, out_channels=8, block_out_channels=(48, 96, 160), layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 1), attention_head_dim=(1, 3, 5), cross_attention_dim=2 * text.WIDTH,
        use_linear_projection=True, norm_num_groups=16, addition_embed_type="text_time", addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=text.WIDTH + 6 * 32)


def scheduler():
    """SDXL-Turbo's, but for what the UNet predicts."""
    return EulerAncestralDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=STEPS,
        prediction_type="v_prediction", timestep_spacing="trailing", steps_offset=1)


def all_sigmas():
    kept = scheduler().alphas_cumprod
    return ((1 - kept) / kept).sqrt()


SIGMAS = all_sigmas()


@functools.cache
def sigmas_on(device):
    return transfer.send(SIGMAS, device)


def sigmas(t):
    """Noise levels [B, 1, 1, 1] of timesteps [B]."""
    return sigmas_on(t.device)[t][:, None, None, None]


def path(source, goal, noise, t, start):
    """Equation (1). `start` < 0: a path that never saw the source, plain diffusion of the goal."""
    share = torch.where(start[:, None, None, None] < 0, 0.0, (sigmas(t) / sigmas(start.clamp(min=0))) ** 2)
    return goal + share * (source - goal) + sigmas(t) * noise


class Words:
    """What the text encoders say of a batch of prompts: states [B, 77, C] and pooled [B, D]."""

    def __init__(self, states, pooled):
        self.states, self.pooled = states, pooled

    def apart(self):
        """The same, through which no gradient leads back. They still ask for one: a compiled network tells inputs that
        do from inputs that do not, and would be compiled for both."""
        return Words(self.states.detach().requires_grad_(), self.pooled.detach().requires_grad_())

    def conditions(self, ids):
        return {"text_embeds": self.pooled, "time_ids": ids}


def time_ids(n, device):
    """Mostly SIZES; others now and then, so that they come to mean nothing. [n, 6]."""
    other = torch.randint(16, 129, (n, 2), device=device).float() * 8
    other = torch.cat([other, torch.zeros_like(other), other], 1)
    return torch.where(torch.rand(n, 1, device=device) < 0.3, other, transfer.constant(SIZES, device))


def given(x, t):
    """Noisy latents as the UNet takes them, divided as the scheduler does. That would be one size at every noise level for
    latents of 1; ours fall from LATENT_SIZE with little noise to 1 with much."""
    return x / (sigmas(t) ** 2 + 1).sqrt()


def clean(unet, x, t, words, ids):
    """The prediction of the clean latents from noisy ones [B, 8, h, w] at timesteps [B]."""
    sigma = sigmas(t)
    v = unet(given(x, t), t, words.states, added_cond_kwargs=words.conditions(ids)).sample.float()
    return x / (sigma**2 + 1) - v * sigma / (sigma**2 + 1).sqrt()


def timesteps(strength, count):
    """Where image-to-image evaluates the UNet: t_k = round(1000 S (1 - k / N)) - 1."""
    return [round(STEPS * strength * (1 - k / count)) - 1 for k in range(count)]


@torch.no_grad()
def repaint(unet, source, words, strength=0.5, count=1):
    """Euler ancestral image-to-image as diffusers runs it: scaled latents in, scaled latents out."""
    ids = transfer.constant(SIZES, source.device).repeat(len(source), 1)
    ts = timesteps(strength, count)
    levels = [float(SIGMAS[t]) for t in ts] + [0.0]
    x = source + levels[0] * torch.randn_like(source)
    for k, t in enumerate(ts):
        now, after = levels[k], levels[k + 1]
        at = torch.full((len(x),), t, device=x.device)
        goal = clean(unet, x, at, words, ids)
        up = (after**2 * (now**2 - after**2) / now**2) ** 0.5
        down = (after**2 - up**2) ** 0.5
        x = x + (x - goal) / now * (down - now) + up * torch.randn_like(x)
    return x
