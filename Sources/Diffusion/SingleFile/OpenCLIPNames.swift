/// Tensors of a CLIP text encoder under the names of OpenCLIP (https://github.com/mlfoundations/open_clip,
/// src/open_clip/transformer.py), which keeps three projections of attention in one.
enum OpenCLIPNames {
  private static let single = [
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias",
  ]
  private static let parts = [
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
  ]
  private static let projections = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]

  /// Where a tensor is, by its name in transformers without `text_model.`; nil where OpenCLIP has none for
  /// it.
  static func place(of name: String) -> SingleFile.Place? {
    if name == "text_projection.weight" {
      return SingleFile.Place(name: "text_projection", part: .transposed)
    }
    if let name = single[name] { return SingleFile.Place(name: name) }
    let words = name.split(separator: ".")
    guard words.count > 4, words[0] == "encoder", words[1] == "layers" else { return nil }
    let (block, leaf) = ("transformer.resblocks.\(words[2])", words[words.count - 1])
    let layer = words[3..<words.count - 1].joined(separator: ".")
    if let third = projections.firstIndex(of: layer) {
      return SingleFile.Place(name: "\(block).attn.in_proj_\(leaf)", part: .third(third))
    }
    return parts[layer].map { SingleFile.Place(name: "\(block).\($0).\(leaf)") }
  }
}
