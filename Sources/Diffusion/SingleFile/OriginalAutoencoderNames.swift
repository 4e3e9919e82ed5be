/// Layers of an AutoencoderKL under the names that latent diffusion's own code has for them, in which levels
/// are numbered from the picture's resolution both ways (https://github.com/Stability-AI/generative-models,
/// sgm/modules/diffusionmodules/model.py).
struct OriginalAutoencoderNames {
  /// Blocks of the decoder's way up.
  private let levels: Int

  /// `layers`: all of the autoencoder's.
  init(_ layers: [String]) {
    let blocks = layers.map { $0.split(separator: ".") }.filter { $0.count > 2 && $0[1] == "up_blocks" }
    levels = Set(blocks.map { $0[2] }).count
  }

  /// The name of a layer, nil where those have none for it.
  subscript(layer: String) -> String? {
    let words = layer.split(separator: ".")
    if ["quant_conv", "post_quant_conv"].contains(layer) { return layer }
    guard words.count > 1 else { return nil }
    let (side, rest) = (words[0], words.dropFirst(2))
    switch words[1] {
    case "conv_in", "conv_out": return layer
    case "conv_norm_out": return "\(side).norm_out"
    case "mid_block": return middle(rest).map { "\(side).mid.\($0)" }
    case "down_blocks": return level(rest).map { "\(side).down.\($0)" }
    case "up_blocks": return level(rest, isUp: true).map { "\(side).up.\($0)" }
    default: return nil
    }
  }

  /// ResNet blocks 1 and 2 with attention between them.
  private func middle(_ words: ArraySlice<Substring>) -> String? {
    let words = Array(words)
    guard words.count > 2, let number = Int(words[1]) else { return nil }
    let name = words[2...].joined(separator: ".")
    switch (words[0], number) {
    case ("resnets", 0...1): return "block_\(number + 1).\(Self.resnet(name))"
    case ("attentions", 0): return Self.attention[name].map { "attn_1.\($0)" }
    default: return nil
    }
  }

  private func level(_ words: ArraySlice<Substring>, isUp: Bool = false) -> String? {
    let words = Array(words)
    guard words.count > 3, let number = Int(words[0]), (0..<max(levels, 1)).contains(number) else {
      return nil
    }
    let place = isUp ? levels - 1 - number : number
    let name = words[3...].joined(separator: ".")
    switch words[1] {
    case "resnets": return "\(place).block.\(words[2]).\(Self.resnet(name))"
    case "downsamplers": return "\(place).downsample.\(name)"
    case "upsamplers": return "\(place).upsample.\(name)"
    default: return nil
    }
  }

  private static func resnet(_ name: String) -> String { name == "conv_shortcut" ? "nin_shortcut" : name }

  private static let attention = [
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
  ]
}
