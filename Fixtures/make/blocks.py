"""Cases of the models' parts: tokens, text encoders, each UNet block, both halves of the autoencoder."""

import bpe
import torch
import transformers
from cases import cast, errors, picture, seeded, to_signed, write_measured


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
