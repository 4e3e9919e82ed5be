"""Random-weight models and pipeline folders, written by save_pretrained of the real classes."""

import json
import math
import shutil
import zlib

import bpe
import diffusers
import torch
import transformers
from safetensors.torch import load_file, save_file

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


CLIP_TINY = {"max_position_embeddings": 77, "layer_norm_eps": 1e-5}


# Folders


def build(folder, settings):
    """Writes the pipeline's folder."""
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


def load(folder, settings, dtype=torch.float32):
    variant = {key: value for key, value in settings["save"].items() if key == "variant"}
    pipe = settings["pipeline"].from_pretrained(folder, torch_dtype=dtype, **variant)
    pipe.set_progress_bar_config(disable=True)
    return pipe
