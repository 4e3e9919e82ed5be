"""Stage 1: the autoencoder, 4 pixels to a latent cell of 8 channels."""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny

from diffusion import LATENT_SIZE


def build():
    """No AutoencoderTinyBlock at the picture's own resolution: those cost most and add least."""
    return AutoencoderTiny(
        encoder_block_out_channels=(32, 32, 32), num_encoder_blocks=(0, 0, 1),
        decoder_block_out_channels=(32, 32, 32), num_decoder_blocks=(1, 1, 0),
        latent_channels=8, act_fn="relu", scaling_factor=1.0)


def encode(vae, x):
    """Pictures in 0...1 to the autoencoder's own latents (not scaled)."""
    return vae.encoder(x * 2 - 1)


def decode(vae, z):
    """The autoencoder's own latents to pictures in 0...1, not clamped."""
    return (vae.decoder(z) + 1) / 2


def gradient_loss(a, b):
    """How differently two pictures change from pixel to pixel."""
    d = a - b
    return (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()


def picture_loss(a, b):
    return F.l1_loss(a, b) + 0.7 * gradient_loss(a, b) + F.l1_loss(F.avg_pool2d(a, 4), F.avg_pool2d(b, 4))


def loss(vae, x):
    """Reconstruction through latents with noise on them."""
    z = encode(vae, x)
    sigma = torch.rand(len(x), 1, 1, 1, device=x.device) * 0.3
    restored = decode(vae, z + sigma * torch.randn_like(z))
    return picture_loss(restored, x) + 0.02 * F.relu(z.abs() - 2).pow(2).mean() + 0.001 * z.pow(2).mean(), restored


@torch.no_grad()
def measure_scale(vae, x):
    """Writes scaling_factor, so that scaled latents have a standard deviation of LATENT_SIZE."""
    factor = round(float(LATENT_SIZE / encode(vae, x).std()), 4)
    vae.register_to_config(scaling_factor=factor)
    return factor
