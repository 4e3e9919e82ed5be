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
 "cases": [{"name":    unique, the prefix of its tensors,
            "module":  tokenizer | text_encoder | unet.<module> | unet | vae.encode | vae.decode |
                       picture | random | scheduler   (with _2 where there are two),
            "inputs":  {role: tensor name},
            "outputs": {role: tensor name},
            "bf16_error":  {role: relative L2 error of the module run alone in torch.bfloat16, from
                            the inputs above rounded to bfloat16, with rounded weights},
            "bf16_chain_error": {role: the same where the whole model runs in bfloat16},
            "f32_error": {role: relative L2 error of float32 against float64, whole model},
            ...: what the call needs, by kind}]}
Relative L2 is |a - b| / |b|. Kinds with more keys:
  picture    prompt, seed, width, height, steps (num_inference_steps), strength (null for text2img),
             evaluations (of the UNet), timesteps, bf16_max_error and bf16_error (of pixels in [0, 1];
             noise is drawn in float32 and rounded, for torch draws other numbers in bfloat16)
  random     seed, sizes
  scheduler  class, config, steps, image_to_image: [{strength, begin, timesteps}]
"""
