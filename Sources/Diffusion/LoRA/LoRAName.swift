/// A tensor's name in a LoRA file, taken apart.
///
/// Files of diffusers have the model's own names with dots,
/// `unet.mid_block.attentions.0.proj_in.lora_A.weight`, those of kohya's trainer underscores,
/// `lora_unet_mid_block_attentions_0_proj_in.lora_down.weight`, and often the names of SDXL's first release,
/// `lora_unet_middle_block_1_proj_in.lora_down.weight`. So places are compared with underscores for dots.
public struct LoRAName {
  public enum Role: Sendable { case down, up, alpha }

  /// `unet`, `text_encoder` or `text_encoder_2`.
  public let component: String
  /// The layer's name with underscores for dots.
  public let layer: String
  public let role: Role

  private static let endings: [(String, Role)] =
    [".alpha", "_lora.alpha"].map { ($0, .alpha) }
    + [
      ".lora_A.weight", ".lora_down.weight", ".lora.down.weight", "_lora.down.weight",
      ".lora_linear_layer.down.weight",
    ]
    .map { ($0, .down) }
    + [
      ".lora_B.weight", ".lora_up.weight", ".lora.up.weight", "_lora.up.weight",
      ".lora_linear_layer.up.weight",
    ]
    .map { ($0, .up) }

  private static let beginnings = [
    ("lora_unet_", "unet"), ("lora_te1_", "text_encoder"), ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"), ("unet.", "unet"), ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
  ]

  /// nil where it is none of a LoRA's.
  public init?(_ name: String) {
    // The longest, for "_lora.alpha" ends in ".alpha" too.
    guard
      let ending = Self.endings.filter({ name.hasSuffix($0.0) }).max(by: { $0.0.utf8.count < $1.0.utf8.count }
      )
    else { return nil }
    let rest = name.dropLast(ending.0.count)
    // Files of attention layers alone begin with the layer.
    let beginning = Self.beginnings.first { rest.hasPrefix($0.0) } ?? ("", "unet")
    role = ending.1
    component = beginning.1
    layer = Self.flat(String(rest.dropFirst(beginning.0.count)).replacing(".processor.", with: "."))
  }

  /// Whether it has the UNet's blocks by the names of SDXL's first release.
  var isOriginal: Bool {
    component == "unet"
      && ["input_blocks_", "middle_block_", "output_blocks_"].contains(where: layer.hasPrefix)
  }
  /// Whether it has them by diffusers' names.
  var isOfDiffusers: Bool {
    component == "unet" && ["down_blocks_", "mid_block_", "up_blocks_"].contains(where: layer.hasPrefix)
  }

  static func flat(_ name: String) -> String { String(name.map { $0 == "." ? "_" : $0 }) }
}

/// Where layers of LoRA files are in a model.
struct LoRAPlaces {
  /// `unet/mid_block.attentions.0.proj_in.weight` by component and each name that a file may have for it.
  private var weights: [String: [String: String]] = [:]

  init(_ model: [String: Checkpoint]) {
    for (component, checkpoint) in model where component != "vae" {
      let layers = checkpoint.names.sorted().filter {
        $0.hasSuffix(".weight") && [2, 4].contains(checkpoint[$0]?.shape.count)
      }.map { String($0.dropLast(".weight".count)) }
      let original = component == "unet" ? OriginalNames(layers) : nil
      var found: [String: String] = [:]
      for layer in layers {
        let names = Self.names(layer, of: component) + [original?[layer]].compactMap(\.self)
        for name in names {
          found[LoRAName.flat(name)] = "\(component)/\(layer).weight"
        }
      }
      weights[component] = found
    }
  }

  private static func names(_ layer: String, of component: String) -> [String] {
    // The first files had `to_out` where there is a list of one layer and its dropout.
    if component == "unet" {
      return [layer] + (layer.hasSuffix(".to_out.0") ? [String(layer.dropLast(2))] : [])
    }
    // Layers of text encoders are met with and without their first word, here and there.
    let first = "text_model."
    return [layer, layer.hasPrefix(first) ? String(layer.dropFirst(first.count)) : first + layer]
  }

  /// The weight's name with its component, nil where the model has none.
  subscript(name: LoRAName) -> String? { weights[name.component]?[name.layer] }
}
