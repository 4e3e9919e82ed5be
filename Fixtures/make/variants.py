"""Writes tiny models of single configuration options and what diffusers computes with them.

    python Fixtures/make/variants.py

Fixtures/parity/variants holds a folder a model (config.json and weights in half precision, or of
mixed types) and for all of them outputs.safetensors and outputs.json, in the form of parity.py:
each case has `name` (the folder), `module` (unet, vae.encode, vae.decode, text_encoder), `inputs` and
`outputs`. Tensors are F32 and NCHW.

Fixtures/parity/refiner-tiny is a whole pipeline of the SDXL refiner's kind: one text encoder, an
aesthetics score in place of the target size, all weights in shards of the variant fp16 under the
names that diffusers and transformers give them.
"""

import shutil
from pathlib import Path

import bpe
import diffusers
import PIL.Image
import torch
import transformers
from cases import picture, seeded, to_signed
from pictures import pixels_of
from pipelines import randomize, tidy, vae_overrides
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent / "parity"

UNET = {
    "sample_size": 8,
    "block_out_channels": [4, 8],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "cross_attention_dim": 10,
    "attention_head_dim": 2,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}

UNETS = {
    # Layers as in SSD-1B: lists in a list, another order on the way up, no attention at the bottom.
    "unet-asymmetric": {
        **UNET,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": [1, 2],
        "transformer_layers_per_block": [1, [2, 1]],
        "reverse_transformer_layers_per_block": [[1, 2, 1], 1],
        "mid_block_type": "UNetMidBlock2D",
        "mid_block_scale_factor": 1.4,
        "use_linear_projection": True,
    },
    # As in KOALA-700M: no middle. Options that only other blocks heed.
    "unet-no-middle": {
        **UNET,
        "mid_block_type": None,
        "resnet_out_scale_factor": 1.7,
        "upcast_attention": True,
        "act_fn": "gelu",
    },
    # Attention to the text in place of attention to itself, but for the middle.
    "unet-cross-only": {
        **UNET,
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        "only_cross_attention": [True, False],
        "attention_head_dim": [2, 3],
        "act_fn": "swish",
    },
    "unet-cross-only-all": {**UNET, "only_cross_attention": True, "act_fn": "relu"},
    # Everything about the ends.
    "unet-ends": {
        **UNET,
        "conv_in_kernel": 5,
        "conv_out_kernel": 1,
        "center_input_sample": True,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "time_embedding_dim": 20,
        "downsample_padding": 0,
        "norm_eps": 1e-3,
    },
    # Tensors of three types in one file.
    "unet-mixed": {**UNET, "attention_head_dim": [4, 1]},
    # SDXL's sizes and pooled text, of which the embedding has SiLU whatever the others have.
    "unet-added": {
        **UNET,
        "act_fn": "relu",
        "mid_block_type": None,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 6 * 4 + 12,
        "resnet_skip_time_act": True,
        "cross_attention_norm": "group_norm",
    },
}
MIXED = "unet-mixed"

KL = {
    "class": diffusers.AutoencoderKL,
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [4, 8],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "picture_gain": 1.0,
}
TINY = {
    "class": diffusers.AutoencoderTiny,
    "encoder_block_out_channels": [8, 8],
    "decoder_block_out_channels": [8, 8],
    "num_encoder_blocks": [1, 1],
    "num_decoder_blocks": [1, 1],
    "picture_gain": 1.0,
}

VAES = {
    "kl-gelu": {**KL, "act_fn": "gelu", "use_quant_conv": False},
    "kl-relu-shifted": {**KL, "act_fn": "relu", "shift_factor": 0.3, "use_post_quant_conv": False},
    "tiny-swish": {
        **TINY,
        "act_fn": "swish",
        "latent_magnitude": 5,
        "latent_shift": 0.2,
        "num_encoder_blocks": [0, 2],
        "num_decoder_blocks": [2, 0],
    },
    "tiny-gelu": {
        **TINY,
        "act_fn": "gelu",
        "decoder_block_out_channels": [12, 12, 12],
        "encoder_block_out_channels": [8, 8, 8],
        "num_encoder_blocks": [1, 1, 1],
        "num_decoder_blocks": [1, 1, 1],
        "latent_channels": 12,
    },
}

TEXT = {
    "vocab_size": 40,
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 9,
    "bos_token_id": 38,
    "eos_token_id": 39,
}
TEXTS = {
    "clip-silu": {**TEXT, "hidden_act": "silu"},
    "clip-relu": {**TEXT, "hidden_act": "relu", "layer_norm_eps": 1e-2},
}


class Outputs:
    """Tensors and cases of the folder."""

    def __init__(self, folder):
        self.folder, self.tensors, self.cases = folder, {}, []

    def case(self, name, module, inputs, results, **more):
        prefix = f"{name}.{module}"
        self.cases.append(
            {
                "name": name,
                "module": module,
                "inputs": {role: self.put(f"{prefix}.{role}", value) for role, value in inputs.items()},
                "outputs": {role: self.put(f"{prefix}.{role}", value) for role, value in results.items()},
                **more,
            }
        )

    def put(self, name, tensor):
        assert name not in self.tensors, name
        kept = tensor if tensor.dtype in (torch.uint8, torch.int32) else tensor.float()
        self.tensors[name] = kept.detach().clone().contiguous()
        return name

    def write(self):
        path = self.folder / "outputs.safetensors"
        save_file(self.tensors, path)
        path.chmod(0o644)
        versions = {module.__name__: module.__version__ for module in (torch, diffusers, transformers)}
        index = {"versions": versions, "prompts": [], "cases": self.cases}
        bpe.write_json(self.folder / "outputs.json", index, indent=1)


def written(model, folder):
    """The model as its files have it, in single precision."""
    model.half().save_pretrained(folder)
    if folder.name == MIXED:
        mix(folder / "diffusion_pytorch_model.safetensors")
    tidy(folder)
    return type(model).from_pretrained(folder, torch_dtype=torch.float32).eval()


def mix(path):
    dtypes = [torch.float32, torch.bfloat16, torch.float16]
    tensors = {
        name: tensor.float().to(dtypes[index % 3]).contiguous()
        for index, (name, tensor) in enumerate(sorted(load_file(path).items()))
    }
    save_file(tensors, path, metadata={"format": "pt"})


def write_unet(outputs, name, settings, seed):
    model = diffusers.UNet2DConditionModel(**settings)
    randomize(model, seed)
    model = written(model, outputs.folder / name)
    inputs = {
        "sample": seeded(1, 4, 7, 9, seed=seed),
        "timestep": torch.tensor([431.0]),
        "context": seeded(1, 5, settings["cross_attention_dim"], seed=seed + 100),
    }

    added = {}
    if settings.get("addition_embed_type"):
        sizes = torch.tensor([[48.0, 64.0, 0.0, 3.0, 40.0, 56.0]])
        added = {"text_embeds": seeded(1, 12, seed=seed + 200), "time_ids": sizes}
    result = model(inputs["sample"], inputs["timestep"], inputs["context"], added_cond_kwargs=added).sample
    inputs |= {role: tensor[None] if role == "text_embeds" else tensor for role, tensor in added.items()}
    outputs.case(name, "unet", inputs, {"conv_out.out": result})


def write_vae(outputs, name, settings, seed):
    arguments = {key: value for key, value in settings.items() if key not in ("class", "picture_gain")}
    model = settings["class"](**arguments)
    full = {"latent_channels": 4, **settings}
    randomize(model, seed, vae_overrides(full))
    model = written(model, outputs.folder / name)
    image = to_signed(picture(20, 12))
    encoded = model.encode(image)
    latent = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mean
    outputs.case(name, "vae.encode", {"image": image}, {"latent.out": latent})
    outputs.case(name, "vae.decode", {"latent": latent}, {"image.out": model.decode(latent).sample})


def write_text(outputs, name, settings, seed):
    model = transformers.CLIPTextModel(transformers.CLIPTextConfig(**settings)).eval()
    randomize(model, seed)
    model = written(model, outputs.folder / name)
    ids = torch.tensor([[38, 5, 17, 0, 21, 39, 39, 39, 39]], dtype=torch.int32)
    outputs.case(name, "text_encoder", {"ids": ids}, {"state.out": model(ids.long()).last_hidden_state})


def write_variants():
    folder = ROOT / "variants"
    shutil.rmtree(folder, ignore_errors=True)
    outputs = Outputs(folder)
    writers = [(write_unet, UNETS), (write_vae, VAES), (write_text, TEXTS)]
    for writer, table in writers:
        for index, (name, settings) in enumerate(table.items()):
            writer(outputs, name, settings, 50 + index)
    outputs.write()


# The refiner

REFINER_TEXT = {
    "hidden_act": "gelu",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 12,
    "max_position_embeddings": 24,
}
REFINER_UNET = {
    "sample_size": 12,
    "block_out_channels": [4, 8, 8],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "attention_head_dim": [1, 2, 4],
    "cross_attention_dim": 16,
    "transformer_layers_per_block": 2,
    "use_linear_projection": True,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 5 * 4 + 12,
}
# The channels' statistics and the noise levels are heeded, the shift is not.
REFINER_VAE = {
    **KL,
    "scaling_factor": 0.8,
    "shift_factor": 0.4,
    "latents_mean": [0.3, -0.2, 0.1, 0.0],
    "latents_std": [0.9, 1.3, 0.7, 1.1],
    "force_upcast": False,
}
REFINER_SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
}
# num_inference_steps, strength, prompt, seed
REFINER_PICTURES = [(2, 0.5, "a photo of a cat", 3), (3, 1.0, "", 4)]


def build_refiner(folder):
    merges = bpe.train(60)
    bpe.write_slow_files(folder / "slow", merges, "!", 24)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder / "slow")
    shutil.rmtree(folder / "slow")
    size = len(bpe.vocabulary(merges))
    special = {"vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": 0}
    text = transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**REFINER_TEXT, **special))
    arguments = {key: value for key, value in REFINER_VAE.items() if key not in ("class", "picture_gain")}
    vae = diffusers.AutoencoderKL(**arguments)
    unet = diffusers.UNet2DConditionModel(**REFINER_UNET)
    randomize(text, 70)
    randomize(vae, 71, vae_overrides(REFINER_VAE))
    randomize(unet, 72)
    pipe = diffusers.StableDiffusionXLImg2ImgPipeline(
        vae=vae,
        text_encoder=None,
        text_encoder_2=text,
        tokenizer=None,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(**REFINER_SCHEDULER),
        requires_aesthetics_score=True,
        add_watermarker=False,
    )
    pipe.to(torch.float16)
    pipe.save_pretrained(folder, variant="fp16", max_shard_size="20KB")
    tidy(folder)
    names = {path.name for path in folder.rglob("*")}
    assert "diffusion_pytorch_model.safetensors.index.fp16.json" in names, names
    assert "model.safetensors.index.fp16.json" in names, names


def write_refiner():
    folder = ROOT / "refiner-tiny"
    shutil.rmtree(folder, ignore_errors=True)
    build_refiner(folder)
    outputs = Outputs(folder)
    pipe = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(
        folder, variant="fp16", torch_dtype=torch.float32, add_watermarker=False
    )
    pipe.set_progress_bar_config(disable=True)
    width, height = 40, 24
    image = picture(width, height)
    for index, (steps, strength, prompt, seed) in enumerate(REFINER_PICTURES):
        found = pipe(
            prompt=prompt,
            image=PIL.Image.fromarray(image.numpy()),
            num_inference_steps=steps,
            strength=strength,
            guidance_scale=0.0,
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
        ).images[0]
        pixels = pixels_of(found)
        outputs.case(
            f"picture.{index}",
            "picture",
            {"input": image},
            {"image": pixels},
            prompt=prompt,
            seed=seed,
            width=width,
            height=height,
            strength=strength,
            evaluations=round(steps * strength),
        )
    outputs.write()


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    diffusers.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    write_variants()
    write_refiner()
    for name in ("variants", "refiner-tiny"):
        size = sum(path.stat().st_size for path in (ROOT / name).rglob("*") if path.is_file())
        print(f"{name}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
