"""Writes the configurations of published models with the weights that diffusers expects of each.

    python Fixtures/make/published.py

Fixtures/parity/published.json holds a list `entries`, each with `name`, `module` (unet, vae,
text_encoder, scheduler), `config` (keys and values as the model's repository has them), and

  for models      `tensors` and `parameters`, their counts, and `checksum`, FNV-1a of 64 bits in
                  hexadecimal over a line "name 3 5\n" for each tensor and its shape, in the order
                  of the names' bytes; text encoders without the prefix "text_model."
  for schedulers  `sigmas`, the noise levels of the first and the last training timestep

Models are built on the meta device: no weights, seconds.
"""

import math
from pathlib import Path

import bpe
import diffusers
import torch
import transformers

PATH = Path(__file__).resolve().parent.parent / "parity" / "published.json"

# What every UNet's file says since diffusers 0.24.
COMMON = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "addition_embed_type": None,
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": None,
    "attention_type": "default",
    "center_input_sample": False,
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": None,
    "downsample_padding": 1,
    "dropout": 0.0,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "num_attention_heads": None,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": None,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "reverse_transformer_layers_per_block": None,
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": 1,
    "upcast_attention": None,
    "use_linear_projection": True,
}
PLAIN, CROSS = "DownBlock2D", "CrossAttnDownBlock2D"
UP_PLAIN, UP_CROSS = "UpBlock2D", "CrossAttnUpBlock2D"

SDXL = {
    **COMMON,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": [PLAIN, CROSS, CROSS],
    "up_block_types": [UP_CROSS, UP_CROSS, UP_PLAIN],
    "transformer_layers_per_block": [1, 2, 10],
    "sample_size": 128,
}
SD2 = {
    **COMMON,
    "attention_head_dim": [5, 10, 20, 20],
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 1024,
    "down_block_types": [CROSS, CROSS, CROSS, PLAIN],
    "up_block_types": [UP_PLAIN, UP_CROSS, UP_CROSS, UP_CROSS],
    "sample_size": 64,
}
# Files from before have few keys.
SD1 = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": [CROSS, CROSS, CROSS, PLAIN],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": [UP_PLAIN, UP_CROSS, UP_CROSS, UP_CROSS],
}

UNETS = {
    "sdxl-turbo": {**SDXL, "sample_size": 64},
    "sdxl-base": SDXL,
    "sdxl-refiner": {
        **SDXL,
        "attention_head_dim": [6, 12, 24, 24],
        "block_out_channels": [384, 768, 1536, 1536],
        "cross_attention_dim": 1280,
        "down_block_types": [PLAIN, CROSS, CROSS, PLAIN],
        "up_block_types": [UP_PLAIN, UP_CROSS, UP_CROSS, UP_PLAIN],
        "projection_class_embeddings_input_dim": 2560,
        "transformer_layers_per_block": 4,
    },
    # Distilled SDXL: the shapes of SSD-1B, Vega and KOALA-700M.
    "ssd-1b": {
        **SDXL,
        "mid_block_type": "UNetMidBlock2D",
        "transformer_layers_per_block": [1, [2, 2], [4, 4]],
        "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
    },
    "vega": {
        **SDXL,
        "mid_block_type": "UNetMidBlock2D",
        "transformer_layers_per_block": [1, [1, 1], [2, 2]],
        "reverse_transformer_layers_per_block": [[2, 2, 2], [1, 1, 1], 1],
    },
    "koala-700m": {
        **SDXL,
        "layers_per_block": 1,
        "mid_block_type": None,
        "transformer_layers_per_block": [1, 2, 5],
    },
    "sd-turbo": SD2,
    "sd-2.1": {**SD2, "sample_size": 96, "upcast_attention": True},
    "sd-1.5": SD1,
}

KL = {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
TAESD = {
    "_class_name": "AutoencoderTiny",
    "act_fn": "relu",
    "decoder_block_out_channels": [64] * 4,
    "encoder_block_out_channels": [64] * 4,
    "force_upcast": False,
    "in_channels": 3,
    "latent_channels": 4,
    "latent_magnitude": 3,
    "latent_shift": 0.5,
    "num_decoder_blocks": [3, 3, 3, 1],
    "num_encoder_blocks": [1, 3, 3, 3],
    "out_channels": 3,
    "scaling_factor": 1.0,
    "upsampling_scaling_factor": 2,
}
VAES = {
    "sdxl-turbo": {
        **KL,
        "force_upcast": True,
        "latents_mean": None,
        "latents_std": None,
        "sample_size": 1024,
        "scaling_factor": 0.13025,
    },
    "sdxl-vae-fp16-fix": {**KL, "force_upcast": False, "sample_size": 512, "scaling_factor": 0.13025},
    "sd-turbo": {**KL, "force_upcast": True, "sample_size": 768, "scaling_factor": 0.18215},
    "sd-1.5": {**KL, "sample_size": 512},
    "taesd": TAESD,
    "taesdxl": TAESD,
}

CLIP = {
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "pad_token_id": 1,
    "torch_dtype": "float16",
    "vocab_size": 49408,
}
LARGE = {
    **CLIP,
    "architectures": ["CLIPTextModel"],
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "projection_dim": 768,
}
TEXTS = {
    "sdxl-turbo": LARGE,
    "sdxl-turbo-2": {
        **CLIP,
        "architectures": ["CLIPTextModelWithProjection"],
        "hidden_act": "gelu",
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_attention_heads": 20,
        "num_hidden_layers": 32,
        "projection_dim": 1280,
    },
    "sd-turbo": {
        **CLIP,
        "architectures": ["CLIPTextModel"],
        "hidden_act": "gelu",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 23,
        "projection_dim": 512,
    },
}

SCHEDULER = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "trailing",
    "trained_betas": None,
    "use_karras_sigmas": False,
}
SCHEDULERS = {
    "sdxl-turbo": {**SCHEDULER, "_class_name": "EulerAncestralDiscreteScheduler"},
    "sdxl-base": {**SCHEDULER, "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"},
    "sd-turbo": {
        **SCHEDULER,
        "_class_name": "EulerDiscreteScheduler",
        "sigma_max": None,
        "sigma_min": None,
        "timestep_type": "discrete",
    },
    # An ancestral scheduler made of another keeps keys that it does not heed.
    "made of another": {
        **SCHEDULER,
        "_class_name": "EulerAncestralDiscreteScheduler",
        "algorithm_type": "dpmsolver++",
        "final_sigmas_type": "sigma_min",
        "use_karras_sigmas": True,
    },
    # Not any model's, but the form some fine-tuned ones have.
    "trained betas": {
        "_class_name": "EulerDiscreteScheduler",
        "num_train_timesteps": 5,
        "prediction_type": "v_prediction",
        "trained_betas": [0.1, 0.2, 0.3, 0.35, 0.4],
    },
}


def checksum(shapes):
    value = 0xCBF29CE484222325
    lines = (" ".join([name, *map(str, shapes[name])]) + "\n" for name in sorted(shapes, key=str.encode))
    for byte in "".join(lines).encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def model_entry(name, module, config, model):
    shapes = {key.removeprefix("text_model."): list(value.shape) for key, value in model.named_parameters()}
    return {
        "name": name,
        "module": module,
        "tensors": len(shapes),
        "parameters": sum(math.prod(shape) for shape in shapes.values()),
        "checksum": checksum(shapes),
        "config": config,
    }


def scheduler_entry(name, config):
    made = getattr(diffusers, config["_class_name"]).from_config(config)
    bars = made.alphas_cumprod
    sigmas = ((1 - bars) / bars) ** 0.5
    return {
        "name": name,
        "module": "scheduler",
        "sigmas": [float(sigmas[0]), float(sigmas[-1])],
        "config": config,
    }


def main():
    diffusers.logging.set_verbosity_error()
    entries = []
    with torch.device("meta"):
        for name, config in UNETS.items():
            model = diffusers.UNet2DConditionModel.from_config(config)
            entries.append(model_entry(name, "unet", config, model))
        for name, config in VAES.items():
            model = getattr(diffusers, config["_class_name"]).from_config(config)
            entries.append(model_entry(name, "vae", config, model))
        for name, config in TEXTS.items():
            model_class = getattr(transformers, config["architectures"][0])
            model = model_class(transformers.CLIPTextConfig(**config))
            entries.append(model_entry(name, "text_encoder", config, model))
    entries += [scheduler_entry(name, config) for name, config in SCHEDULERS.items()]
    bpe.write_json(PATH, {"entries": entries}, indent=1)
    for entry in entries:
        print(*(entry.get(key, "") for key in ("module", "name", "tensors", "parameters", "sigmas")))


if __name__ == "__main__":
    main()
