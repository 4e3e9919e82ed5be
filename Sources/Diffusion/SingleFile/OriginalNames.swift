/// Layers of a UNet under the names that Stable Diffusion's own code has for them, in which blocks are
/// numbered through (https://github.com/Stability-AI/generative-models,
/// sgm/modules/diffusionmodules/openaimodel.py).
public struct OriginalNames {
  /// The number of the first of a block's, and of its ResNet blocks.
  private typealias Place = (first: Int, count: Int)
  private let down, up: [Place]
  /// Blocks of the way up with attention.
  private let attended: Set<Substring>

  private static let single = [
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
  ]
  private static let parts = [
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
  ]

  /// `layers`: all of the UNet's, which say how many blocks there are.
  public init(_ layers: [String]) {
    let layers = layers.map { $0.split(separator: ".") }.filter { $0.count > 3 }
    func places(_ kind: String, from first: Int) -> [Place] {
      var counts: [Substring: Set<Substring>] = [:]
      for layer in layers where layer[0] == kind && layer[2] == "resnets" {
        counts[layer[1], default: []].insert(layer[3])
      }
      var (places, next) = ([Place](), first)
      while let count = counts["\(places.count)"]?.count {
        places.append((next, count))
        // On the way down a block ends with one more, which halves the picture; on the way up that is part of
        // the last.
        next += kind == "down_blocks" ? count + 1 : count
      }
      return places
    }
    // The first is conv_in.
    down = places("down_blocks", from: 1)
    up = places("up_blocks", from: 0)
    attended = Set(layers.filter { $0[0] == "up_blocks" && $0[2] == "attentions" }.map { $0[1] })
  }

  /// The name of a layer, nil where those have none for it.
  public subscript(layer: String) -> String? {
    if let name = Self.single[layer] { return name }
    let words = layer.split(separator: ".")
    if words.count > 3, words[0] == "mid_block", let number = Self.number(words[2]) {
      // ResNet blocks with attention between them.
      let place = "middle_block.\(2 * number + (words[1] == "attentions" ? 1 : 0))"
      return inside(words[1], words.dropFirst(3)).map { "\(place).\($0)" }
    }
    guard words.count > 4, let block = Self.number(words[1]), let number = Self.number(words[3]) else {
      return nil
    }
    switch words[0] {
    case "down_blocks" where down.indices.contains(block):
      if words[2] == "downsamplers" { return "input_blocks.\(down[block].first + down[block].count).0.op" }
      return numbered("input_blocks.\(down[block].first + number)", words)
    case "up_blocks" where up.indices.contains(block):
      let place = "output_blocks.\(up[block].first + number)"
      guard words[2] == "upsamplers" else { return numbered(place, words) }
      let last = up[block].first + up[block].count - 1
      return "output_blocks.\(last).\(attended.contains(words[1]) ? 2 : 1).conv"
    default: return nil
    }
  }

  /// nil where it is none that a UNet would have: names come from a file.
  private static func number(_ word: Substring) -> Int? {
    Int(word).flatMap { (0..<1000).contains($0) ? $0 : nil }
  }

  private func numbered(_ place: String, _ words: [Substring]) -> String? {
    inside(words[2], words.dropFirst(4)).map { "\(place).\(words[2] == "attentions" ? 1 : 0).\($0)" }
  }

  /// A layer's name in a ResNet block or a transformer.
  private func inside(_ kind: Substring, _ rest: ArraySlice<Substring>) -> String? {
    let name = rest.joined(separator: ".")
    switch kind {
    case "attentions": return name
    case "resnets": return Self.parts[name]
    default: return nil
    }
  }
}
