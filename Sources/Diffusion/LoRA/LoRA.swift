import Engine

/// Low-rank changes of a model's weights (Hu 2021, arXiv 2106.09685, section 4.1), from one safetensors file:
///
///     W' = W + s · (α / r) · B A
///
/// with W `[K, n]` (a convolution's filters as rows), A `[r, n]`, B `[K, r]`. They become part of the graph,
/// so that the sum is computed once, by the backend, when weights are loaded; a frame takes as long as
/// without them.
public final class LoRA: @unchecked Sendable {
  /// A file, and how much of it: 1 is what it was trained for.
  public struct Choice: Sendable, Equatable {
    public let path: String
    public let scale: Double

    public init(path: String, scale: Double = 1) {
      self.path = path
      self.scale = scale
    }

    /// The file's, without what tells its format.
    var name: String { FileSystem.title(path) }
  }

  /// What one weight of the model is changed by.
  private struct Change {
    var down, up: SafetensorsRecord
    var rank: Int
    var factor: Float
  }

  let checkpoint: Checkpoint
  /// The component under which `ModelWeights` has the file.
  let component: String
  /// By the name of the weight, `unet/conv_in.weight`.
  private let changes: [String: Change]

  /// Finds the place of every tensor of the file in the model. Errors: `.noInput`, `.io`, `.data`; those of
  /// the file's that stand for no weight of the model are named.
  init(_ choice: Choice, component: String, model: [String: Checkpoint]) throws {
    self.component = component
    checkpoint = try Checkpoint(path: choice.path)
    let places = LoRAPlaces(model)
    var parts: [String: [LoRAName.Role: SafetensorsRecord]] = [:]
    var strangers: [String] = []
    for (record, key) in try Self.keys(checkpoint) {
      guard let place = places[key] else {
        strangers.append(record.name)
        continue
      }
      guard parts[place, default: [:]].updateValue(record, forKey: key.role) == nil else {
        throw DiffusionError(
          .data, path: choice.path, "changes \(place) twice, by \"\(record.name.prefix(200))\" again",
          remedy: "Take another file: which of them is meant cannot be known.")
      }
    }
    guard strangers.isEmpty, !parts.isEmpty else {
      throw DiffusionError(
        .data, path: choice.path,
        strangers.isEmpty
          ? "is empty"
          : "changes \"\(strangers[0].prefix(200))\", which the model does not have"
            + (strangers.count > 1 ? ", and \(strangers.count - 1) more" : ""),
        remedy:
          "It was made for another kind of model: SDXL-Turbo takes LoRAs of SDXL, SD-Turbo those of SD 2.1.")
    }
    let (checkpoint, scalings) = (checkpoint, try Self.scalings(checkpoint))
    changes = try parts.reduce(into: [:]) { changes, part in
      var scaling = scalings[part.key.prefix { $0 != "/" }] ?? Scaling()
      if let alpha = part.value[.alpha] { scaling.alpha = try Self.alpha(alpha, checkpoint) }
      changes[part.key] = try Self.change(part.key, part.value, scaling, model, choice)
    }
  }

  /// The file's tensors in the order of their names. Where blocks of the UNet come under both of their names,
  /// diffusers' count, as there: some trainers' files hold two LoRAs of the same layers so.
  private static func keys(_ checkpoint: Checkpoint) throws -> [(SafetensorsRecord, LoRAName)] {
    let keys = try checkpoint.names.sorted().compactMap { checkpoint[$0] }.map { record in
      guard let key = LoRAName(record.name) else {
        throw DiffusionError(
          .data, path: checkpoint.path,
          "has a tensor \"\(record.name.prefix(200))\", which is no part of a LoRA",
          remedy: "LoRA files of diffusers and kohya are read; LoHa, LoKr and DoRA are not.")
      }
      guard !record.name.hasPrefix("base_model.model.") else {
        throw DiffusionError(
          .data, path: checkpoint.path, "was saved by PEFT alone, which keeps its scale in another file",
          remedy: "Save it by diffusers' save_lora_weights, which puts both in one.")
      }
      return (record, key)
    }
    guard keys.contains(where: \.1.isOfDiffusers) else { return keys }
    return keys.filter { !$0.1.isOriginal }
  }

  private static func change(
    _ place: String, _ parts: [LoRAName.Role: SafetensorsRecord], _ scaling: Scaling,
    _ model: [String: Checkpoint], _ choice: Choice
  ) throws -> Change {
    func refuse(_ fact: String) -> DiffusionError {
      DiffusionError(
        .data, path: choice.path, "\(fact) for \(place)", remedy: "Download the file again, or another one.")
    }
    let name = place.split(separator: "/", maxSplits: 1).map(String.init)
    guard let weight = model[name[0]]?[name[1]] else { throw refuse("finds no weight") }
    guard weight.dtype != "I8" else {
      throw DiffusionError(
        .unavailable, path: choice.path,
        "cannot change weights of eight bits, which the model has in \(place)",
        remedy: "Take the folder that it was quantized from.")
    }
    guard let down = parts[.down], let up = parts[.up] else { throw refuse("lacks one of two factors") }
    guard [down, up].allSatisfy({ $0.isFloat }) else {
      throw refuse("has factors of type \(down.dtype) and \(up.dtype)")
    }
    let (rows, rank) = (weight.shape[0], down.shape.first ?? 0)
    let columns = weight.shape.dropFirst().reduce(1, *)
    let (downCount, upCount) = (down.shape.reduce(1, *), up.shape.reduce(1, *))
    // No number is larger than the file, so products of them do not overflow.
    guard downCount > 0, upCount > 0, down.shape.count > 1, up.shape.count > 1, up.shape[0] == rows,
      downCount == rank * columns,
      upCount == rows * rank
    else {
      throw refuse("has factors of the shapes \(down.shape) and \(up.shape), not those of \(weight.shape)")
    }
    let factor = Float(choice.scale) * scaling.factor(rank)
    guard factor.isFinite else { throw refuse("gives the factor \(factor) at the scale \(choice.scale)") }
    return Change(down: down, up: up, rank: rank, factor: factor)
  }

  // MARK: Scaling

  /// By how much a product of factors is multiplied.
  private struct Scaling {
    var alpha: Float?
    /// α / √r in place of α / r (rsLoRA, Kalajdzievski 2023, arXiv 2312.03732).
    var isByRoot = false

    func factor(_ rank: Int) -> Float {
      let rank = Float(rank)
      return (alpha ?? rank) / (isByRoot ? rank.squareRoot() : rank)
    }
  }

  /// What `lora_adapter_metadata` says of each component, as diffusers writes it beside PEFT's factors.
  private static func scalings(_ checkpoint: Checkpoint) throws -> [Substring: Scaling] {
    guard let text = checkpoint.metadata["lora_adapter_metadata"] else { return [:] }
    let members = (try? JSON.parse(Array(text.utf8)))?.object?.members ?? []
    var scalings: [Substring: Scaling] = [:]
    for member in members {
      let words = member.name.split(separator: ".", maxSplits: 1)
      guard words.count == 2 else { continue }
      switch words[1] {
      case "lora_alpha": scalings[words[0], default: Scaling()].alpha = member.value.double.map(Float.init)
      case "use_rslora": scalings[words[0], default: Scaling()].isByRoot = member.value.bool ?? false
      case "alpha_pattern" where member.value.object?.members.isEmpty == false:
        throw DiffusionError(
          .data, path: checkpoint.path, "has an alpha for some layers only (\(member.name.prefix(200)))",
          remedy: "Save it in kohya's format, which has each layer's beside it.")
      default: break
      }
    }
    return scalings
  }

  /// The one number of a tensor.
  private static func alpha(_ record: SafetensorsRecord, _ checkpoint: Checkpoint) throws -> Float {
    guard record.shape.allSatisfy({ $0 == 1 }),
      let found = try checkpoint.withBytes(of: record.name, { number($0, record) }), let number = found,
      number.isFinite
    else {
      throw DiffusionError(
        .data, path: checkpoint.path,
        "has \"\(record.name.prefix(200))\" of type \(record.dtype) and shape \(record.shape), not one finite number",
        remedy: "Download the file again, or another one.")
    }
    return number
  }

  private static func number(_ bytes: UnsafeRawBufferPointer, _ record: SafetensorsRecord) -> Float? {
    switch record.dtype {
    case "I64": return Float(bytes.loadUnaligned(as: Int64.self))
    case "F64": return Float(bytes.loadUnaligned(as: Double.self))
    default: return record.type.flatMap { ElementCodec.decode(bytes, $0.element).first }
    }
  }

  // MARK: Graphs

  /// The weight of this name, changed; what it was where nothing changes it.
  func change(_ weight: Value, named name: String, in graph: Graph) -> Value {
    guard let change = changes[name] else { return weight }
    let (shape, element) = (graph.shape(weight), graph.type(weight).element)
    func factor(_ record: SafetensorsRecord, _ shape: [Int]) -> Value {
      graph.reshape(graph.weight("\(component)/\(record.name)", record.shape, element), shape)
    }
    let down = factor(change.down, [change.rank, shape.dropFirst().reduce(1, *)])
    let up = graph.affine(factor(change.up, [shape[0], change.rank]), scale: change.factor, offset: 0)
    let product = graph.linear(up, weight: graph.transpose(down, [1, 0]))
    return graph.add(weight, graph.reshape(product, shape))
  }
}
