"""Writes small random-weight diffusers pipelines and what PyTorch computes with them.

    python Fixtures/make/parity.py            # everything
    python Fixtures/make/parity.py sd-tiny    # one folder

The Swift tests compare with these files and need no Python. Everything is seeded: on one machine
with the versions of requirements.txt, a second run writes the same bytes.

Folders in Fixtures/parity
--------------------------
sdxl-tiny   StableDiffusionXLPipeline, F16 `.fp16` files, AutoencoderKL, Euler ancestral, epsilon;
            tokenizers as vocab.json + merges.txt
sd-tiny     StableDiffusionPipeline of the SD 2.1 shape, F32, AutoencoderTiny, Euler ancestral,
            v_prediction; tokenizer.json alone
odd-tiny    StableDiffusionPipeline, BF16 in shards, convolution projections, layers per block as a
            list, 8 latent channels, AutoencoderTiny of factor 4, Euler, epsilon, old eos_token_id 2,
            keys without the `text_model.` prefix
kl-odd      vae/ alone: AutoencoderKL, 16 latent channels, no quant convolutions, no attention
random      torch's CPU generator
schedulers  timesteps and sigmas

A pipeline's folder is in the diffusers layout and holds two more files, `outputs.safetensors` and
`outputs.json`. The others hold these two (and kl-odd its vae).

Sizes are WIDTHxHEIGHT, in latents for `unet` and `vae.decode`, in pixels for `vae.encode` and
`picture`. Tensors are F32 and NCHW unless said; B is 1 for all but text.

outputs.safetensors
-------------------
tokenizer.ids, tokenizer_2.ids          I32 [prompts, model_max_length], row i is prompts[i]
text_encoder.ids  (also text_encoder_2) I32 [4, length]
  .hidden_states.<i>.out                [4, length, hidden]; 0 is the embeddings' sum, i is after layer i
  .last_hidden_state.out                [4, length, hidden] after final_layer_norm
  .pooled.out                           [4, hidden]: last_hidden_state at the pooled position
  .text_embeds.out                      [4, projection] (CLIPTextModelWithProjection only)
  .context.out                          what the pipeline hands on: hidden_states[-2] without the
                                        final norm (SDXL) or last_hidden_state (SD)
unet.<WxH>.sample .timestep .context    inputs: [1, latent channels, H, W], [1], [1, length, width]
  .text_embeds .time_ids                inputs of text_time only: [1, projection], [1, 6]
  .time_proj.out                        [1, C0] sinusoids
  .time_embedding.out .add_embedding.out  [1, 4 C0]
  .emb.out                              their sum, which every block takes
  .conv_in.out
  .down_blocks.<i>.res.<j>              each tensor kept for the way up, in order; the last is .out
  .down_blocks.<i>.out .mid_block.out .up_blocks.<i>.out
  .conv_out.out                         the UNet's result
vae.encode.<WxH>.image                  input, [1, 3, H, W] in [-1, 1]
  .moments.out                          AutoencoderKL: mean then logvar, [1, 2 C, h, w], not clamped
  .noise .latent.out                    AutoencoderKL: mean + exp(clamp(logvar, -30, 20) / 2) noise,
                                        AutoencoderTiny: latent.out alone; neither is scaled
vae.decode.<WxH>.latent .image.out      input (already divided by scaling_factor), [1, 3, H, W]
input.<WxH>                             U8 [H, W, 3], the picture that img2img starts from
picture.<name>.latents.<k>              [1, C, h, w]; 0 is the start (noise added), k after step k
picture.<name>.image                    U8 [H, W, 3], round(255 clamp((x + 1) / 2, 0, 1)), half to even
random.<seed>.<call>.<draw>             [n], successive torch.randn of one generator
schedulers.<config>.<steps>.timesteps   [steps], schedulers.<config>.<steps>.sigmas [steps + 1]

outputs.json
------------
{"pipeline": {"name", "class", "versions"},
 "prompts": [text],
 "cases": [{"name":    unique,
            "module":  tokenizer | text_encoder | unet.<module> | unet | vae.encode | vae.decode |
                       picture | random | scheduler   (with _2 where there are two),
            "inputs":  {role: tensor name},
            "outputs": {role: tensor name},
            "bf16_error":  {role: relative L2 error of the module run alone in torch.bfloat16, from
                            the inputs above rounded to bfloat16, with rounded weights},
            "bf16_chain_error": {role: the same where the whole model runs in bfloat16},
            "f32_error": {role: relative L2 error of float32 against float64, whole model},
            ...: what the call needs, by kind}]}
A role's tensor is named <prefix>.<role>, where the prefix is the case's name, or unet.<WxH> for a
module within the UNet, so the outputs of one module's case are the inputs of the next one's.
Relative L2 is |a - b| / |b|. time_proj's bfloat16 error is 0, for diffusers makes the sinusoids in
float32 and rounds only what enters time_embedding. Kinds with more keys:
  picture    prompt, seed, width, height, steps (num_inference_steps), strength (null for text2img),
             evaluations (of the UNet), timesteps, bf16_max_error and bf16_error (of pixels in [0, 1];
             noise is drawn in float32 and rounded, for torch draws other numbers in bfloat16)
  random     seed, sizes
  scheduler  class, config, steps, image_to_image: [{strength, begin, timesteps}]
"""

import argparse
import json
import math
import shutil
import sys
import zlib
from pathlib import Path

import bpe
import diffusers
import numpy as np
import PIL.Image
import torch
import transformers
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent / "parity"

SCALED_LINEAR = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

CLIP_TINY = {"max_position_embeddings": 77, "layer_norm_eps": 1e-5}

PIPELINES = {
    "sd-tiny": {
        "pipeline": diffusers.StableDiffusionPipeline,
        "image_to_image": diffusers.StableDiffusionImg2ImgPipeline,
        "dtype": torch.float32,
        "save": {},
        "merges": 400,
        "tokenizers": {"tokenizer": {"pad_token": "!", "length": 77, "fast": True}},
        "text_encoders": {
            "text_encoder": {
                "class": transformers.CLIPTextModel,
                "hidden_act": "gelu",
                "hidden_size": 32,
                "intermediate_size": 80,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "projection_dim": 20,
            }
        },
        "unet": {
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": [12, 24, 24, 24],
            "layers_per_block": 2,
            "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
            "attention_head_dim": [2, 3, 4, 4],
            "cross_attention_dim": 32,
            "use_linear_projection": True,
            "norm_num_groups": 4,
        },
        "vae": {
            "class": diffusers.AutoencoderTiny,
            "encoder_block_out_channels": [12] * 4,
            "decoder_block_out_channels": [12] * 4,
            "num_encoder_blocks": [1, 2, 2, 2],
            "num_decoder_blocks": [2, 2, 2, 1],
            "latent_channels": 4,
            "picture_gain": 1.2,
        },
        "scheduler": {
            "class": diffusers.EulerAncestralDiscreteScheduler,
            **SCALED_LINEAR,
            "prediction_type": "v_prediction",
            "timestep_spacing": "trailing",
            "steps_offset": 1,
        },
        "latent_sizes": [(16, 12), (33, 25)],
        "pixel_sizes": [(64, 48), (72, 40)],
        "pictures": [(128, 96), (264, 200)],
    },
    "sdxl-tiny": {
        "pipeline": diffusers.StableDiffusionXLPipeline,
        "image_to_image": diffusers.StableDiffusionXLImg2ImgPipeline,
        "dtype": torch.float16,
        "save": {"variant": "fp16"},
        "merges": 300,
        "tokenizers": {
            "tokenizer": {"pad_token": bpe.EOS, "length": 77, "fast": False},
            "tokenizer_2": {"pad_token": "!", "length": 77, "fast": False},
        },
        "text_encoders": {
            "text_encoder": {
                "class": transformers.CLIPTextModel,
                "hidden_act": "quick_gelu",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
            },
            "text_encoder_2": {
                "class": transformers.CLIPTextModelWithProjection,
                "hidden_act": "gelu",
                "hidden_size": 24,
                "intermediate_size": 96,
                "num_hidden_layers": 4,
                "num_attention_heads": 3,
                "projection_dim": 20,
                "eos_token_id": 2,
            },
        },
        "unet": {
            "sample_size": 16,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": [16, 24, 32],
            "layers_per_block": 2,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "transformer_layers_per_block": [1, 2, 3],
            "attention_head_dim": [1, 2, 4],
            "cross_attention_dim": 56,
            "use_linear_projection": True,
            "norm_num_groups": 8,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 20 + 6 * 8,
        },
        "vae": {
            "class": diffusers.AutoencoderKL,
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "block_out_channels": [8, 16, 16, 24],
            "layers_per_block": 2,
            "latent_channels": 4,
            "norm_num_groups": 4,
            "sample_size": 64,
            "scaling_factor": 0.13025,
            "force_upcast": True,
            "picture_gain": 1.0,
        },
        "scheduler": {
            "class": diffusers.EulerAncestralDiscreteScheduler,
            **SCALED_LINEAR,
            "prediction_type": "epsilon",
            "timestep_spacing": "trailing",
            "steps_offset": 1,
        },
        "latent_sizes": [(16, 12), (33, 25)],
        "pixel_sizes": [(64, 48), (72, 40)],
        "pictures": [(96, 128), (264, 200)],
    },
    "odd-tiny": {
        "pipeline": diffusers.StableDiffusionPipeline,
        "image_to_image": diffusers.StableDiffusionImg2ImgPipeline,
        "dtype": torch.bfloat16,
        "save": {"max_shard_size": "400KB"},
        "merges": 350,
        "tokenizers": {"tokenizer": {"pad_token": bpe.EOS, "length": 40, "fast": True}},
        "text_encoders": {
            "text_encoder": {
                "class": transformers.CLIPTextModel,
                "prefix": False,
                "hidden_act": "quick_gelu",
                "hidden_size": 40,
                "intermediate_size": 72,
                "num_hidden_layers": 2,
                "num_attention_heads": 5,
                "max_position_embeddings": 40,
                "layer_norm_eps": 1e-6,
                "eos_token_id": 2,
            }
        },
        "unet": {
            "sample_size": 24,
            "in_channels": 8,
            "out_channels": 8,
            "block_out_channels": [20, 32, 40],
            "layers_per_block": [1, 2, 1],
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"],
            "transformer_layers_per_block": [2, 1, 1],
            "attention_head_dim": 2,
            "cross_attention_dim": 40,
            "use_linear_projection": False,
            "norm_num_groups": 4,
            "norm_eps": 1e-6,
        },
        "vae": {
            "class": diffusers.AutoencoderTiny,
            "encoder_block_out_channels": [16] * 3,
            "decoder_block_out_channels": [20] * 3,
            "num_encoder_blocks": [1, 2, 1],
            "num_decoder_blocks": [2, 1, 1],
            "latent_channels": 8,
            "scaling_factor": 0.7,
            "picture_gain": 0.15,
        },
        "scheduler": {
            "class": diffusers.EulerDiscreteScheduler,
            "beta_start": 0.0001,
            "beta_end": 0.006,
            "beta_schedule": "linear",
            "prediction_type": "epsilon",
            "timestep_spacing": "trailing",
        },
        "latent_sizes": [(16, 12), (33, 25)],
        "pixel_sizes": [(64, 48), (60, 44)],
        "pictures": [(96, 72), (136, 104)],
    },
}

KL_ODD = {
    "class": diffusers.AutoencoderKL,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [6, 12, 18],
    "layers_per_block": 1,
    "latent_channels": 16,
    "norm_num_groups": 3,
    "scaling_factor": 0.3611,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "mid_block_add_attention": False,
    "force_upcast": False,
    "picture_gain": 1.0,
}


# Weights


def randomize(model, seed, overrides=()):
    """Fills every tensor so that activations stay near 1 and no branch is lost.

    Each tensor's seed follows from its name, so that adding one changes no other.
    """
    modules = dict(model.named_modules())
    for name, tensor in model.named_parameters():
        owner, _, kind = name.rpartition(".")
        generator = torch.Generator().manual_seed(seed * 2**32 + zlib.crc32(name.encode()))
        noise = torch.randn(tensor.shape, generator=generator)
        tensor.data = scaled(noise, modules[owner], name, kind)
        for pattern, change in overrides:
            if pattern in name:
                tensor.data = change(tensor.data)


def scaled(noise, module, name, kind):
    if isinstance(module, torch.nn.Embedding):
        return noise * (0.3 if "position" in name else 0.7)
    if isinstance(module, (torch.nn.LayerNorm, torch.nn.GroupNorm)):
        return 1 + 0.2 * noise if kind == "weight" else 0.2 * noise
    if kind == "bias":
        return 0.1 * noise
    return noise * gain(name) / math.sqrt(noise[0].numel())


# What a random layer of each kind needs for its output to keep its input's variance, or, before a
# residual sum, about half of it. The first fragment found in the name counts.
GAINS = [
    (("to_q", "to_k", "q_proj", "k_proj"), 1.4),  # uneven attention
    (("conv1",), 1.6),  # after SiLU
    (("conv_shortcut", "upsamplers"), 0.8),  # the way up adds what it is given
    (("conv2", "to_out", "out_proj", "fc2", "ff.net.2", "proj_out"), 1.0),
    ((".conv.0", ".conv.2"), 1.4),  # AutoencoderTinyBlock, ReLU between
    ((".conv.4",), 0.7),
]


def gain(name):
    for fragments, value in GAINS:
        if any(fragment in name for fragment in fragments):
            return value
    return 1.0


def vae_overrides(settings):
    """Latents of about unit variance after scaling_factor, pictures that seldom clip."""
    channels, picture_gain = settings["latent_channels"], settings["picture_gain"]
    if settings["class"] is diffusers.AutoencoderTiny:
        encoder_blocks, decoder_blocks = settings["num_encoder_blocks"], settings["num_decoder_blocks"]
        latent = f"encoder.layers.{sum(encoder_blocks) + len(encoder_blocks)}"
        picture = f"decoder.layers.{sum(decoder_blocks) + 2 * len(decoder_blocks)}"
        return [
            (latent + ".weight", lambda t: 2.5 * t),
            (picture + ".weight", lambda t: picture_gain * t),
            (picture + ".bias", lambda t: 0.5 + t),
        ]
    latent = "quant_conv." if settings.get("use_quant_conv", True) else "encoder.conv_out."
    scale = 0.8 / settings.get("scaling_factor", 0.18215)

    def moments(tensor):
        mean, log_variance = tensor[:channels], tensor[channels:]
        offset = -1.0 if tensor.ndim == 1 else 0.0
        return torch.cat([scale * mean, offset + 0.7 * log_variance])

    # "post_quant_conv" ends with the same letters.
    return [
        (latent, lambda t: moments(t) if t.shape[0] == 2 * channels else t),
        ("decoder.conv_out.weight", lambda t: picture_gain * t),
    ]


# Folders


def build(name):
    """Writes the pipeline's folder with save_pretrained of the real classes."""
    settings = PIPELINES[name]
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    tokenizers = build_tokenizers(settings, folder)
    vocabulary = len(bpe.vocabulary(bpe.train(settings["merges"])))
    parts = {"vae": build_vae(settings["vae"], 1)}
    for index, (key, encoder) in enumerate(settings["text_encoders"].items()):
        parts[key] = build_text_encoder(encoder, vocabulary, 2 + index)
    parts["unet"] = diffusers.UNet2DConditionModel(**settings["unet"])
    randomize(parts["unet"], 4)
    parts["scheduler"] = build_scheduler(settings["scheduler"])
    if settings["pipeline"] is diffusers.StableDiffusionPipeline:
        parts.update(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe = settings["pipeline"](**tokenizers, **parts)
    pipe.to(settings["dtype"])
    pipe.save_pretrained(folder, **settings["save"])
    for key, options in settings["tokenizers"].items():
        if not options["fast"]:
            shutil.rmtree(folder / key)
            write_slow_tokenizer(settings, options, folder / key)
    for key, encoder in settings["text_encoders"].items():
        rename_keys(folder / key, encoder.get("prefix", True))
    tidy(folder)


def write_slow_tokenizer(settings, options, folder):
    merges = bpe.train(settings["merges"])
    bpe.write_slow_files(folder, merges, options["pad_token"], options["length"])


def build_tokenizers(settings, folder):
    tokenizers = {}
    for key, options in settings["tokenizers"].items():
        write_slow_tokenizer(settings, options, folder / key)
        tokenizers[key] = transformers.CLIPTokenizer.from_pretrained(folder / key)
        shutil.rmtree(folder / key)
    return tokenizers


def build_text_encoder(settings, vocabulary, seed):
    arguments = dict(settings)
    model_class = arguments.pop("class")
    arguments.pop("prefix", None)
    special = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": 1}
    config = transformers.CLIPTextConfig(**{"vocab_size": vocabulary, **CLIP_TINY, **special, **arguments})
    model = model_class(config).eval()
    randomize(model, seed)
    return model


def build_vae(settings, seed):
    arguments = dict(settings)
    arguments.pop("picture_gain")
    model = arguments.pop("class")(**arguments).eval()
    randomize(model, seed, vae_overrides(settings))
    return model


def build_scheduler(settings):
    arguments = dict(settings)
    return arguments.pop("class")(**arguments)


def rename_keys(folder, prefix):
    """Text-encoder keys with or without `text_model.`: both are met in the wild."""

    def renamed(tensors):
        bare = {key.removeprefix("text_model."): value for key, value in tensors.items()}
        return {with_prefix(key): value for key, value in bare.items()}

    def with_prefix(key):
        return "text_model." + key if prefix and not key.startswith("text_projection") else key

    for path in folder.glob("*.safetensors"):
        save_file(renamed(load_file(path)), path, metadata={"format": "pt"})
    for path in folder.glob("*.index.json"):
        index = json.loads(path.read_text())
        bpe.write_json(path, index | {"weight_map": renamed(index["weight_map"])})


def tidy(folder):
    """Takes out of the written files what names this machine."""
    for path in folder.rglob("*.json"):
        value = json.loads(path.read_text(encoding="utf-8"))
        for key in ("_name_or_path", "is_local", "local_files_only"):
            if isinstance(value, dict):
                value.pop(key, None)
        indent = None if path.name in ("vocab.json", "tokenizer.json") else 2
        bpe.write_json(path, value, indent=indent)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def load(name, pipeline_class, dtype=torch.float32):
    settings = PIPELINES[name]
    variant = {key: value for key, value in settings["save"].items() if key == "variant"}
    pipe = pipeline_class.from_pretrained(ROOT / name, torch_dtype=dtype, **variant)
    pipe.set_progress_bar_config(disable=True)
    return pipe


# Outputs


class Outputs:
    """The tensors and cases of one folder, and how a case is measured."""

    def __init__(self, name, class_name):
        self.folder = ROOT / name
        versions = {module.__name__: module.__version__ for module in (torch, diffusers, transformers)}
        self.index = {"pipeline": {"name": name, "class": class_name, "versions": versions}}
        self.index["prompts"] = []
        self.index["cases"] = []
        self.tensors = {}

    def put(self, name, tensor):
        if not tensor.dtype.is_floating_point and tensor.dtype != torch.uint8:
            tensor = tensor.to(torch.int32)
        if tensor.dtype.is_floating_point:
            tensor = tensor.float()
            assert torch.isfinite(tensor).all(), name
        assert name not in self.tensors, name
        self.tensors[name] = tensor.detach().clone().contiguous()
        return name

    def case(self, name, module, inputs, outputs, **more):
        case = {"name": name, "module": module, "inputs": inputs, "outputs": outputs, **more}
        self.index["cases"].append(case)
        return case

    def write(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "outputs.safetensors"
        save_file(self.tensors, path)
        path.chmod(0o644)
        bpe.write_json(self.folder / "outputs.json", self.index, indent=1)


def relative_error(tensor, reference):
    tensor, reference = tensor.double(), reference.double()
    return float(f"{(tensor - reference).norm() / reference.norm():.4g}")


def errors(tensors, references):
    return {role: relative_error(tensors[role], references[role]) for role in references}


def cast(value, dtype):
    """Casts the floating-point tensors of nested arguments."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.dtype.is_floating_point else value
    if isinstance(value, (list, tuple)):
        return type(value)(cast(item, dtype) for item in value)
    if isinstance(value, dict):
        return {key: cast(item, dtype) for key, item in value.items()}
    return value


def write_tokens(outputs, pipe, settings):
    outputs.index["prompts"] = bpe.PROMPTS
    for key in settings["tokenizers"]:
        ids = tokenize(getattr(pipe, key), bpe.PROMPTS)
        outputs.case(key, key, {}, {"ids": outputs.put(f"{key}.ids", ids)})


def tokenize(tokenizer, prompts):
    length = tokenizer.model_max_length
    batch = tokenizer(
        prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    return batch.input_ids


# Short, empty, with the padding token inside, and longer than the limit.
ENCODED_PROMPTS = [bpe.PROMPTS[0], "", "wow! really! yes!", bpe.PROMPTS[40]]


def write_text_encoders(outputs, pipes, settings):
    final_norm = len(settings["text_encoders"]) == 1
    for index, key in enumerate(settings["text_encoders"]):
        tokenizer = getattr(pipes[torch.float32], list(settings["tokenizers"])[index])
        ids = tokenize(tokenizer, ENCODED_PROMPTS)
        results = {
            dtype: run_text_encoder(getattr(pipe, key), ids, final_norm) for dtype, pipe in pipes.items()
        }
        inputs = {"ids": outputs.put(f"{key}.ids", ids)}
        write_measured(outputs, key, key, inputs, results, prompts=ENCODED_PROMPTS)


def run_text_encoder(model, ids, final_norm):
    result = model(ids, output_hidden_states=True)
    values = {f"hidden_states.{i}.out": tensor for i, tensor in enumerate(result.hidden_states)}
    values["last_hidden_state.out"] = result.last_hidden_state
    if isinstance(model, transformers.CLIPTextModelWithProjection):
        values["text_embeds.out"] = result.text_embeds
        pooled = model.text_model(ids).pooler_output
    else:
        pooled = result.pooler_output
    values["pooled.out"] = pooled
    values["context.out"] = result.last_hidden_state if final_norm else result.hidden_states[-2]
    return values


def seeded(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def write_unet(outputs, pipes, context, latent_size):
    unet = pipes[torch.float32].unet
    width, height = latent_size
    prefix = f"unet.{width}x{height}"
    # One late and one early timestep, neither a round number.
    timestep = torch.tensor([999.0 if width % 2 == 0 else 437.0])
    inputs = {
        "sample": seeded(1, unet.config.in_channels, height, width, seed=width),
        "timestep": timestep,
        "context": context,
    }
    if unet.config.addition_embed_type == "text_time":
        projection = pipes[torch.float32].text_encoder_2.config.projection_dim
        size = [8.0 * height, 8.0 * width]
        inputs["text_embeds"] = seeded(1, projection, seed=width + 1)
        inputs["time_ids"] = torch.tensor([[*size, 0, 0, *size]])
    names = {role: outputs.put(f"{prefix}.{role}", tensor) for role, tensor in inputs.items()}
    calls, reference = run_unet(unet, inputs)
    tensors = {role: outputs.put(f"{prefix}.{role}", tensor) for role, tensor in reference.items()}
    chains = {dtype: run_unet(pipe.unet, inputs)[1] for dtype, pipe in pipes.items()}
    chain = errors(chains[torch.bfloat16], reference)
    exact = errors(reference, chains[torch.float64])
    alone = errors(run_blocks(pipes[torch.bfloat16].unet, calls), reference)
    for module, (consumed, produced) in unet_modules(unet).items():
        roles = [role for role in reference if produced(role)]
        outputs.case(
            f"{prefix}.{module}" if module else prefix,
            f"unet.{module}" if module else "unet",
            {role: names.get(role) or tensors[role] for role in consumed if role in names or role in tensors},
            {role: tensors[role] for role in roles},
            bf16_error={role: alone[role] if module else chain[role] for role in roles},
            bf16_chain_error={role: chain[role] for role in roles},
            f32_error={role: exact[role] for role in roles},
        )


def unet_modules(unet):
    """Each module's inputs by role, and which roles it puts out; "" is the whole UNet."""

    def only(*roles):
        return lambda role: role in roles

    def within(module):
        return lambda role: role.startswith(module + ".")

    conditions = ["emb.out", "context"]
    modules = {
        "": (["sample", "timestep", "context", "text_embeds", "time_ids"], only("conv_out.out")),
        "time_embedding": (["timestep"], only("time_proj.out", "time_embedding.out")),
        "conv_in": (["sample"], within("conv_in")),
    }
    if unet.config.addition_embed_type == "text_time":
        modules["add_embedding"] = (["text_embeds", "time_ids"], within("add_embedding"))
    previous, kept = "conv_in.out", ["conv_in.out"]
    for index, block in enumerate(unet.down_blocks):
        module = f"down_blocks.{index}"
        modules[module] = ([previous, *conditions], within(module))
        count = len(block.resnets) + len(block.downsamplers or [])
        kept += [f"{module}.res.{position}" for position in range(count)]
        previous = module + ".out"
    modules["mid_block"] = ([previous, *conditions], within("mid_block"))
    previous = "mid_block.out"
    for index, block in enumerate(unet.up_blocks):
        module, count = f"up_blocks.{index}", len(block.resnets)
        modules[module] = ([previous, *kept[-count:], *conditions], within(module))
        previous, kept = module + ".out", kept[:-count]
    modules["conv_out"] = ([previous], within("conv_out"))
    return modules


def hooked(unet):
    blocks = [(f"down_blocks.{i}", block) for i, block in enumerate(unet.down_blocks)]
    blocks += [("mid_block", unet.mid_block)]
    blocks += [(f"up_blocks.{i}", block) for i, block in enumerate(unet.up_blocks)]
    names = ["time_proj", "time_embedding", "conv_in", "conv_norm_out", "conv_out"]
    if unet.config.addition_embed_type == "text_time":
        names.append("add_embedding")
    return blocks + [(name, getattr(unet, name)) for name in names]


def run_unet(unet, inputs):
    """The arguments of every module's call, and the outputs by role."""
    calls = {}

    def remember(name):
        def hook(module, arguments, keywords, output):
            calls[name] = (arguments, keywords, output)

        return hook

    handles = [
        module.register_forward_hook(remember(name), with_kwargs=True) for name, module in hooked(unet)
    ]
    # The timestep stays float32, as the schedulers give it.
    inputs = cast(inputs, unet.dtype) | {"timestep": inputs["timestep"]}
    added = {role: inputs[role] for role in ("text_embeds", "time_ids") if role in inputs}
    unet(inputs["sample"], inputs["timestep"], inputs["context"], added_cond_kwargs=added or None)
    for handle in handles:
        handle.remove()
    roles = {}
    for name, (_, keywords, output) in calls.items():
        if name != "conv_norm_out":
            roles.update(output_roles(name, output))
        if name == "down_blocks.0":
            roles["emb.out"] = keywords["temb"]
    return calls, roles


def output_roles(name, output):
    if not isinstance(output, tuple):
        return {name + ".out": output}
    roles = {f"{name}.res.{index}": tensor for index, tensor in enumerate(output[1])}
    return roles | {name + ".out": output[0]}


def run_blocks(unet, calls):
    """Each module alone in the unet's dtype, on the inputs of recorded float32 calls."""
    modules = dict(hooked(unet))
    roles = {}
    for name, (arguments, keywords, output) in calls.items():
        if name in ("conv_norm_out", "time_proj"):
            roles.update(output_roles(name, output))
            continue
        if name == "conv_out":
            norm_arguments = cast(calls["conv_norm_out"][0], unet.dtype)
            arguments = (unet.conv_act(unet.conv_norm_out(*norm_arguments)),)
        result = modules[name](*cast(arguments, unet.dtype), **cast(keywords, unet.dtype))
        roles.update(output_roles(name, result))
    roles["emb.out"] = roles["time_embedding.out"]
    if "add_embedding.out" in roles:
        roles["emb.out"] = roles["emb.out"] + roles["add_embedding.out"]
    return roles


def write_vae(outputs, models, pixel_size):
    vae = models[torch.float32]
    width, height = pixel_size
    image = to_signed(picture(width, height))
    encoded = {dtype: encode(model, image) for dtype, model in models.items()}
    reference = encoded[torch.float32]
    prefix = f"vae.encode.{width}x{height}"
    inputs = {"image": outputs.put(prefix + ".image", image)}
    if "moments.out" in reference:
        inputs["noise"] = outputs.put(prefix + ".noise", posterior_noise(reference["moments.out"]))
    write_measured(outputs, prefix, "vae.encode", inputs, encoded)

    latent = reference["latent.out"]
    prefix = f"vae.decode.{latent.shape[3]}x{latent.shape[2]}"
    decoded = {
        dtype: {"image.out": model.decode(cast(latent, dtype)).sample} for dtype, model in models.items()
    }
    inputs = {"latent": outputs.put(prefix + ".latent", latent)}
    write_measured(outputs, prefix, "vae.decode", inputs, decoded)


def encode(vae, image):
    result = vae.encode(cast(image, vae.dtype))
    if hasattr(result, "latents"):
        return {"latent.out": result.latents}
    posterior = result.latent_dist
    noise = posterior_noise(posterior.parameters).to(vae.dtype)
    return {"moments.out": posterior.parameters, "latent.out": posterior.mean + posterior.std * noise}


def posterior_noise(moments):
    batch, channels, height, width = moments.shape
    return seeded(batch, channels // 2, height, width, seed=7)


def write_measured(outputs, prefix, module, inputs, results, **more):
    reference = results[torch.float32]
    bf16 = errors(results[torch.bfloat16], reference)
    outputs.case(
        prefix,
        module,
        inputs,
        {role: outputs.put(f"{prefix}.{role}", tensor) for role, tensor in reference.items()},
        bf16_error=bf16,
        bf16_chain_error=bf16,
        f32_error=errors(reference, results[torch.float64]),
        **more,
    )


# Pictures


def picture(width, height):
    """Gradients, a disc, bars and a checkerboard, in integers alone: U8 [height, width, 3]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    red, green = 255 * x // (width - 1), 255 * y // (height - 1)
    blue = (x * 3 + y * 5) % 256
    image = np.stack([red, green, blue], axis=-1)
    radius = min(width, height) // 4
    disc = (x - width // 3) ** 2 + (y - height // 2) ** 2 < radius**2
    image[disc] = (230, 60, 20)
    checks = (x > 2 * width // 3) & (y > height // 2) & ((x // 4 + y // 4) % 2 == 0)
    image[checks] = (10, 20, 30)
    image[height // 8 : height // 8 + 3] = (250, 250, 240)
    return torch.from_numpy(image.astype(np.uint8))


def to_signed(image):
    """U8 [H, W, 3] to [1, 3, H, W] in [-1, 1], in VaeImageProcessor's order of operations."""
    return 2.0 * (image.permute(2, 0, 1)[None].float() / 255.0) - 1.0


PICTURE_CALLS = [
    # name, num_inference_steps, strength (None: from text), which of the two sizes, prompt, seed
    ("img2img-1", 2, 0.5, 0, "a photo of a cat", 0),
    ("img2img-1-odd", 2, 0.5, 1, "pixel art of a small castle, sixteen colours!", 42),
    ("img2img-2", 4, 0.5, 0, "", 7),
    ("img2img-full", 3, 1.0, 0, bpe.PROMPTS[40], 11),
    ("text2img-1", 1, None, 0, "An Oil Painting of a LIGHTHOUSE by the sea", 2**32 + 5),
    ("text2img-4", 4, None, 0, "wow! really! yes!", 3),
]


def write_pictures(outputs, name, settings):
    for width, height in settings["pictures"]:
        outputs.put(f"input.{width}x{height}", picture(width, height))
    runs = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        text_to_image = load(name, settings["pipeline"], dtype)
        image_to_image = settings["image_to_image"](**text_to_image.components, **without_checker(settings))
        image_to_image.set_progress_bar_config(disable=True)
        for call in PICTURE_CALLS:
            pipe = text_to_image if call[2] is None else image_to_image
            with noise_in_float32():
                runs[call[0], dtype] = run_picture(pipe, call, settings["pictures"][call[3]])
    for call in PICTURE_CALLS:
        write_picture(outputs, call, settings["pictures"][call[3]], runs)


def without_checker(settings):
    single = settings["pipeline"] is diffusers.StableDiffusionPipeline
    return {"requires_safety_checker": False} if single else {}


class noise_in_float32:
    """Draws float32 noise and rounds it, for torch draws other numbers in other types."""

    def __enter__(self):
        self.modules = [
            module
            for key, module in list(sys.modules.items())
            if key.startswith("diffusers.") and "randn_tensor" in vars(module)
        ]
        self.original = self.modules[0].randn_tensor
        for module in self.modules:
            module.randn_tensor = self.draw

    def draw(self, shape, generator=None, device=None, dtype=None, layout=None):
        return self.original(shape, generator=generator, device=device, dtype=torch.float32).to(dtype)

    def __exit__(self, *_):
        for module in self.modules:
            module.randn_tensor = self.original


def run_picture(pipe, call, size):
    _, steps, strength, _, prompt, seed = call
    width, height = size
    latents, timesteps = [], []
    prepare = pipe.prepare_latents

    def remember_start(*arguments, **keywords):
        latents.append(prepare(*arguments, **keywords))
        return latents[-1]

    def remember_step(_, index, timestep, values):
        latents.append(values["latents"])
        timesteps.append(float(timestep))
        return values

    if strength is None:
        target = {"width": width, "height": height}
    else:
        image = PIL.Image.fromarray(picture(width, height).numpy())
        target = {"image": image, "strength": strength}
    pipe.prepare_latents = remember_start
    result = pipe(
        prompt=prompt,
        num_inference_steps=steps,
        guidance_scale=0.0,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
        callback_on_step_end=remember_step,
        **target,
    )
    pipe.prepare_latents = prepare
    return {"latents": latents, "timesteps": timesteps, "image": result.images[0].permute(1, 2, 0)}


def write_picture(outputs, call, size, runs):
    key, steps, strength, _, prompt, seed = call
    run, rough, exact = (runs[key, dtype] for dtype in (torch.float32, torch.bfloat16, torch.float64))
    width, height = size
    prefix = f"picture.{key}"
    names = {
        f"latents.{index}": outputs.put(f"{prefix}.latents.{index}", tensor)
        for index, tensor in enumerate(run["latents"])
    }
    pixels = (run["image"] * 255).round().to(torch.uint8)
    assert pixels.shape == (height, width, 3), pixels.shape
    names["image"] = outputs.put(f"{prefix}.image", pixels)
    outputs.case(
        prefix,
        "picture",
        {} if strength is None else {"image": f"input.{width}x{height}"},
        names,
        prompt=prompt,
        seed=seed,
        width=width,
        height=height,
        steps=steps,
        strength=strength,
        evaluations=len(run["timesteps"]),
        timesteps=run["timesteps"],
        bf16_error={"image": relative_error(rough["image"], run["image"])},
        bf16_max_error=float(f"{(rough['image'].float() - run['image']).abs().max():.4g}"),
        f32_error={"image": relative_error(run["image"], exact["image"])},
    )


# Folders of outputs alone


def write_random():
    outputs = Outputs("random", "torch.Generator")
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


SCHEDULERS = {
    "ancestral-trailing": {"class": diffusers.EulerAncestralDiscreteScheduler, "timestep_spacing": "trailing"},
    "ancestral-leading": {
        "class": diffusers.EulerAncestralDiscreteScheduler,
        "timestep_spacing": "leading",
        "steps_offset": 1,
    },
    "ancestral-linspace": {"class": diffusers.EulerAncestralDiscreteScheduler, "timestep_spacing": "linspace"},
    "euler-trailing": {"class": diffusers.EulerDiscreteScheduler, "timestep_spacing": "trailing"},
    "euler-leading": {
        "class": diffusers.EulerDiscreteScheduler,
        "timestep_spacing": "leading",
        "steps_offset": 1,
    },
    "euler-linspace": {"class": diffusers.EulerDiscreteScheduler, "timestep_spacing": "linspace"},
    "euler-linear": {
        "class": diffusers.EulerDiscreteScheduler,
        "timestep_spacing": "trailing",
        "beta_schedule": "linear",
        "beta_start": 0.0001,
        "beta_end": 0.006,
    },
    "ancestral-cosine": {
        "class": diffusers.EulerAncestralDiscreteScheduler,
        "timestep_spacing": "trailing",
        "beta_schedule": "squaredcos_cap_v2",
    },
    "euler-zero-snr": {
        "class": diffusers.EulerDiscreteScheduler,
        "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": True,
        "prediction_type": "v_prediction",
    },
}


def write_schedulers():
    outputs = Outputs("schedulers", "schedulers")
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


def write_pipeline(name):
    settings = PIPELINES[name]
    build(name)
    dtypes = (torch.float32, torch.bfloat16, torch.float64)
    pipes = {dtype: load(name, settings["pipeline"], dtype) for dtype in dtypes}
    outputs = Outputs(name, settings["pipeline"].__name__)
    write_tokens(outputs, pipes[torch.float32], settings)
    write_text_encoders(outputs, pipes, settings)
    keys = [f"{key}.context.out" for key in settings["text_encoders"]]
    context = torch.cat([outputs.tensors[key][:1] for key in keys], dim=-1)
    for size in settings["latent_sizes"]:
        write_unet(outputs, pipes, context, size)
    for size in settings["pixel_sizes"]:
        write_vae(outputs, {dtype: pipe.vae for dtype, pipe in pipes.items()}, size)
    write_pictures(outputs, name, settings)
    outputs.write()


def write_kl_odd():
    folder = ROOT / "kl-odd"
    shutil.rmtree(folder, ignore_errors=True)
    build_vae(KL_ODD, 5).save_pretrained(folder / "vae")
    tidy(folder)
    dtypes = (torch.float32, torch.bfloat16, torch.float64)
    models = {
        dtype: diffusers.AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype) for dtype in dtypes
    }
    outputs = Outputs("kl-odd", "AutoencoderKL")
    for size in [(64, 48), (60, 44)]:
        write_vae(outputs, models, size)
    outputs.write()


def main():
    parser = argparse.ArgumentParser(description="Writes the parity fixtures.")
    writers = {name: lambda name=name: write_pipeline(name) for name in PIPELINES}
    writers |= {"kl-odd": write_kl_odd, "random": write_random, "schedulers": write_schedulers}
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(writers))
    names = parser.parse_args().names or list(writers)
    torch.set_grad_enabled(False)
    # Sums then run in one order.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    diffusers.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    for name in names:
        writers[name]()
        size = sum(path.stat().st_size for path in (ROOT / name).rglob("*") if path.is_file())
        print(f"{name}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
