"""Stage 2: the UNet and the text encoders, one step from a noised photograph to the stylised picture."""

import torch
import torch.nn.functional as F
from diffusers import EulerAncestralDiscreteScheduler, UNet2DConditionModel

import text


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
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
        prediction_type="v_prediction", timestep_spacing="trailing", steps_offset=1)


def all_sigmas():
    kept = scheduler().alphas_cumprod
    return ((1 - kept) / kept).sqrt()


SIGMAS = all_sigmas()


def pick_timesteps(n):
    """Half at 499 (two steps at strength 0.5), the others wherever strengths of 0.25 to 0.8 start."""
    t = torch.randint(200, 820, (n,))
    return torch.where(torch.rand(n) < 0.5, torch.tensor(499), t)


def time_ids(n):
    """SDXL's size, crop and target size. Mostly 256x256; others now and then, so that they come to mean nothing."""
    side = torch.tensor([256.0, 256, 0, 0, 256, 256]).repeat(n, 1)
    other = torch.randint(16, 129, (n, 2)).float() * 8
    other = torch.cat([other, torch.zeros(n, 2), other], 1)
    return torch.where(torch.rand(n, 1) < 0.3, other, side)


def denoise(unet, z, t, noise, states, pooled, ids):
    """One step: scaled clean latents [B, 8, h, w], timesteps [B] and noise to the predicted clean latents."""
    sigma = SIGMAS.to(t.device)[t][:, None, None, None]
    x = z + sigma * noise
    v = unet(x / (sigma**2 + 1).sqrt(), t, states, added_cond_kwargs={"text_embeds": pooled, "time_ids": ids}).sample
    return x / (sigma**2 + 1) - v * sigma / (sigma**2 + 1).sqrt()


class StyleHead(torch.nn.Linear):
    """Names the style from the pooled text; only there to teach the text encoders, never exported."""

    def loss(self, states, pooled, style):
        return F.cross_entropy(self(torch.cat([pooled, states.mean(1)], 1)), style)
