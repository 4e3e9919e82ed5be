"""Writes small random-weight diffusers pipelines and what PyTorch computes with them.

    python Fixtures/make/parity.py            # everything
    python Fixtures/make/parity.py sd-tiny    # one folder
    python Fixtures/make/parity.py --output /tmp/parity

What they are made of is in configurations.py; pipelines.py makes the models and folders, blocks.py,
pictures.py and tables.py the cases, with what they share in cases.py.

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
import shutil
from pathlib import Path

import diffusers
import torch
import transformers
from blocks import write_text_encoders, write_tokens, write_unet, write_vae
from cases import Outputs
from configurations import KL_ODD, PIPELINES
from pictures import write_pictures
from pipelines import build, build_vae, load, tidy
from tables import write_random, write_schedulers

PARITY = Path(__file__).resolve().parent.parent / "parity"
DTYPES = (torch.float32, torch.bfloat16, torch.float64)


def write_pipeline(folder):
    settings = PIPELINES[folder.name]
    build(folder, settings)
    pipes = {dtype: load(folder, settings, dtype) for dtype in DTYPES}
    outputs = Outputs(folder, settings["pipeline"].__name__)
    write_tokens(outputs, pipes[torch.float32], settings)
    write_text_encoders(outputs, pipes, settings)
    keys = [f"{key}.context.out" for key in settings["text_encoders"]]
    context = torch.cat([outputs.tensors[key][:1] for key in keys], dim=-1)
    for size in settings["latent_sizes"]:
        write_unet(outputs, pipes, context, size)
    for size in settings["pixel_sizes"]:
        write_vae(outputs, {dtype: pipe.vae for dtype, pipe in pipes.items()}, size)
    write_pictures(outputs, settings)
    outputs.write()


def write_kl_odd(folder):
    shutil.rmtree(folder, ignore_errors=True)
    build_vae(KL_ODD, 5).save_pretrained(folder / "vae")
    tidy(folder)
    models = {
        dtype: diffusers.AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype) for dtype in DTYPES
    }
    outputs = Outputs(folder, "AutoencoderKL")
    for size in [(64, 48), (60, 44)]:
        write_vae(outputs, models, size)
    outputs.write()


def main():
    parser = argparse.ArgumentParser(description="Writes the parity fixtures.")
    writers = dict.fromkeys(PIPELINES, write_pipeline)
    writers |= {"kl-odd": write_kl_odd, "random": write_random, "schedulers": write_schedulers}
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(writers))
    parser.add_argument("--output", type=Path, default=PARITY, help="default: Fixtures/parity")
    options = parser.parse_args()
    if unknown := set(options.names) - set(writers):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(writers)}")
    torch.set_grad_enabled(False)
    # Sums then run in one order.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    diffusers.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    for name in options.names or writers:
        folder = options.output / name
        writers[name](folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{name}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
