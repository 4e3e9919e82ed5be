import Diffusion
import TestSupport
import Testing

/// Options that diffusers has and this program has not: refused with the file, the key and what to do.
struct RefusalTests {
  struct Option: Sendable {
    let file, key, value: String
    /// Part of the remedy.
    let remedy: String
    let pipeline: String
    let kind: DiffusionError.Kind

    init(
      _ file: String, _ key: String, _ value: String, _ remedy: String = "Choose a model without it",
      of pipeline: String = "sdxl-tiny", _ kind: DiffusionError.Kind = .unavailable
    ) {
      (self.file, self.key, self.value, self.remedy) = (file, key, value, remedy)
      (self.pipeline, self.kind) = (pipeline, kind)
    }
  }

  static let unet = "unet/config.json"
  static let vae = "vae/config.json"
  static let text = "text_encoder/config.json"
  static let scheduler = "scheduler/scheduler_config.json"
  static let tokenizer = "tokenizer/tokenizer_config.json"

  static let unets: [Option] = [
    Option(unet, "dual_cross_attention", "true"),
    Option(unet, "encoder_hid_dim", "768"),
    Option(unet, "encoder_hid_dim_type", "\"text_proj\""),
    Option(unet, "class_embed_type", "\"projection\""),
    Option(unet, "num_class_embeds", "1000"),
    Option(unet, "time_cond_proj_dim", "256"),
    Option(unet, "timestep_post_act", "\"silu\""),
    Option(unet, "time_embedding_act_fn", "\"silu\""),
    Option(unet, "class_embeddings_concat", "true"),
    Option(unet, "resnet_time_scale_shift", "\"scale_shift\"", "default"),
    Option(unet, "time_embedding_type", "\"fourier\"", "positional"),
    Option(unet, "attention_type", "\"gated\"", "default"),
    Option(unet, "addition_embed_type", "\"text_image\"", "text_time"),
    Option(unet, "addition_embed_type", "null", "download", .configuration),
    Option(unet, "act_fn", "\"mish\"", "silu"),
    Option(unet, "act_fn", "\"quick_gelu\"", "silu, swish, gelu, relu"),
    Option(unet, "num_attention_heads", "[1, 2, 4]", "attention_head_dim"),
    Option(unet, "attention_head_dim", "[1, 2]", "Download", .configuration),
    Option(
      unet, "down_block_types", "[\"DownBlock2D\", \"SimpleCrossAttnDownBlock2D\", \"DownBlock2D\"]",
      "CrossAttnDownBlock2D"),
    Option(
      unet, "up_block_types", "[\"UpBlock2D\", \"ResnetUpsampleBlock2D\", \"UpBlock2D\"]",
      "CrossAttnUpBlock2D"),
    Option(unet, "down_block_types", "[\"DownBlock2D\"]", "Download", .configuration),
    Option(unet, "mid_block_type", "\"UNetMidBlock2DSimpleCrossAttn\"", "UNetMidBlock2DCrossAttn"),
    Option(unet, "conv_in_kernel", "4", "Download", .configuration),
    Option(unet, "transformer_layers_per_block", "[1, [1, 2], 1]", "Download", .configuration),
    Option(unet, "transformer_layers_per_block", "[1, [[2]], 1]", "Download", .configuration),
    Option(unet, "transformer_layers_per_block", "[1, [2, 2], 3]", "Download", .configuration),
    Option(unet, "reverse_transformer_layers_per_block", "2", "Download", .configuration),
    Option(unet, "sample_size", "[8]", "Download", .configuration),
    Option(unet, "sample_size", "[8, 8, 8]", "Download", .configuration),
    Option(unet, "sample_size", "[8, 0]", "Download", .configuration),
    Option(unet, "reverse_transformer_layers_per_block", "[[1, 1], 1, 1]", "Download", .configuration),
    Option(unet, "only_cross_attention", "[true]", "Download", .configuration),
    Option(unet, "cross_attention_dim", "[56, 56]", "Download", .configuration),
    Option(unet, "addition_embed_type", "\"text_time\"", "Download", of: "sd-tiny", .configuration),
    Option(unet, "in_channels", "9", "download", .configuration),
  ]

  /// With null in their place diffusers fails, too.
  static let nulls: [Option] =
    [
      "in_channels", "out_channels", "freq_shift", "down_block_types", "up_block_types",
      "only_cross_attention", "block_out_channels", "layers_per_block", "downsample_padding",
      "mid_block_scale_factor", "act_fn", "norm_num_groups", "norm_eps", "cross_attention_dim",
      "transformer_layers_per_block", "attention_head_dim", "resnet_time_scale_shift",
      "time_embedding_type", "conv_in_kernel", "conv_out_kernel",
    ].map { Option(unet, $0, "null", "Download", .configuration) }
    + [
      "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type",
      "interpolation_type", "timestep_spacing", "final_sigmas_type",
    ].map { Option(scheduler, $0, "null", "Download", of: "odd-tiny", .configuration) }

  static let others: [Option] = [
    Option(vae, "act_fn", "\"mish\"", "silu"),
    Option(vae, "act_fn", "\"quick_gelu\"", "silu"),
    Option(vae, "down_block_types", "[\"AttnDownEncoderBlock2D\"]", "DownEncoderBlock2D"),
    Option(vae, "latents_mean", "[1, 2]", "Download", .configuration),
    Option(vae, "latents_std", "\"one\"", "Download", .configuration),
    Option(vae, "latents_mean", "[0, 0, 0, 1e300]", "Download", .configuration),
    Option(vae, "latents_std", "[0, 1, 1, 1]", "Download", .configuration),
    Option(vae, "latents_std", "[1, 1, 1, 1e300]", "Download", .configuration),
    Option(vae, "latents_std", "[1, 1, 1, -1]", "Download", .configuration),
    Option(vae, "in_channels", "4", "Download", .configuration),
    Option(vae, "upsample_fn", "\"bilinear\"", "nearest", of: "sd-tiny"),
    Option(vae, "act_fn", "\"mish\"", "relu", of: "sd-tiny"),
    Option(vae, "encoder_block_out_channels", "[12, 12, 12, 16]", "Download", of: "sd-tiny", .configuration),
    Option(vae, "num_decoder_blocks", "[2, 2]", "Download", of: "sd-tiny", .configuration),
    Option(vae, "upsampling_scaling_factor", "4", "download", of: "sd-tiny", .configuration),
    Option(vae, "scaling_factor", "0", "Download", .configuration),
    Option(vae, "scaling_factor", "1e300", "Download", .configuration),
    Option(vae, "scaling_factor", "1e-40", "Download", .configuration),
    Option(text, "hidden_act", "\"gelu_new\"", "quick_gelu"),
    Option(text, "use_attention_mask", "true"),
    Option(tokenizer, "model_max_length", "60", "download", .configuration),
    Option(tokenizer, "model_max_length", "1", "Download", .configuration),
    Option(scheduler, "use_karras_sigmas", "true", "false", of: "odd-tiny"),
    Option(scheduler, "use_exponential_sigmas", "true", "false", of: "odd-tiny"),
    Option(scheduler, "use_beta_sigmas", "true", "false", of: "odd-tiny"),
    Option(scheduler, "final_sigmas_type", "\"sigma_min\"", "zero", of: "odd-tiny"),
    Option(scheduler, "interpolation_type", "\"log_linear\"", "linear", of: "odd-tiny"),
    Option(scheduler, "timestep_type", "\"continuous\"", "discrete", of: "refiner-tiny"),
    Option(scheduler, "timestep_spacing", "\"log\"", "linspace, leading, trailing"),
    Option(scheduler, "prediction_type", "\"sample\"", "v_prediction", of: "odd-tiny"),
    Option(scheduler, "prediction_type", "\"sample\"", "epsilon"),
    Option(scheduler, "beta_schedule", "\"sigmoid\"", "scaled_linear"),
    Option(scheduler, "trained_betas", "[]", "Download", .configuration),
    Option(scheduler, "steps_offset", "-1", "Download", .configuration),
    Option(
      "model_index.json", "scheduler", "[\"diffusers\", \"DPMSolverMultistepScheduler\"]",
      "EulerDiscreteScheduler"),
    Option(
      "model_index.json", "text_encoder", "[\"transformers\", \"CLIPTextModelWithProjection\"]",
      "CLIPTextModel"),
    Option(
      "model_index.json", "text_encoder_2", "[\"transformers\", \"CLIPTextModel\"]", "download",
      .configuration),
    Option("model_index.json", "vae", "[null, null]", "pipeline", .configuration),
  ]

  @Test(arguments: unets + nulls + others)
  func optionIsRefusedWithARemedy(option: Option) throws {
    let folder = try TemporaryFolder()
    try folder.link(Parity.root + "/" + option.pipeline)
    try folder.set(option.file, option.key, option.value)
    let error = #expect(throws: DiffusionError.self, "\(option.key) \(option.value)") {
      try ModelFolder(path: folder.path)
    }
    let found = try #require(error)
    #expect(found.kind == option.kind, "\(found)")
    #expect(found.fact.contains(option.key), "\(found)")
    #expect(found.remedy?.contains(option.remedy) == true, "\(found)")
    // Of two tokenizers that disagree the second is named.
    let second = option.file.split(separator: "/").joined(separator: "_2/")
    let suffixes = option.key == "model_max_length" ? [option.file, second] : [option.file]
    #expect(suffixes.contains { found.path?.hasSuffix("/" + $0) == true }, "\(found)")
  }
}
