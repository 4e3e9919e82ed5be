import Engine

/// A place in a checkpoint, such as `down_blocks.0.resnets.1`, from which layers take their weights.
///
/// `scope["conv1"]` is the place below. Asking for a weight checks its name, shape and type against the file
/// at once; what is wrong is collected, so one message tells all of it, and the layer is built regardless.
public struct Scope {
  public let graph: Graph
  /// Element type of activations, and of the weights they are multiplied with.
  public let element: ElementType
  private let component: String
  private let checkpoint: Checkpoint
  private let loras: [LoRA]
  private let problems: Problems
  private let path: String

  /// What is wrong with the weights of one component.
  private final class Problems {
    var facts: [String] = []
    var count = 0

    func note(_ fact: String) {
      count += 1
      if facts.count < 4 { facts.append(fact) }
    }
  }

  public init(
    graph: Graph, component: String, checkpoint: Checkpoint, element: ElementType, loras: [LoRA] = []
  ) {
    self.init(graph, element, component, checkpoint, loras, Problems(), "")
  }

  private init(
    _ graph: Graph, _ element: ElementType, _ component: String, _ checkpoint: Checkpoint, _ loras: [LoRA],
    _ problems: Problems, _ path: String
  ) {
    self.graph = graph
    self.element = element
    self.component = component
    self.checkpoint = checkpoint
    self.loras = loras
    self.problems = problems
    self.path = path
  }

  /// The place below this one.
  public subscript(name: String) -> Scope {
    Scope(graph, element, component, checkpoint, loras, problems, join(name))
  }
  public subscript(name: String, index: Int) -> Scope { self["\(name).\(index)"] }

  /// Whether the checkpoint has a tensor of this name here.
  public func has(_ name: String) -> Bool { checkpoint[join(name)] != nil }

  /// The first of the names that has a weight here; the first of all when none has.
  public func first(_ names: String...) -> Scope {
    self[names.first { has($0 + ".weight") } ?? names[0]]
  }

  /// A matrix or kernel, in the element type of the activations, as LoRAs change it.
  public func matrix(_ name: String, _ shape: [Int]) -> Value {
    let place = "\(component)/\(join(name))"
    let plain = weight(name, shape, element)
    // LoRAs fit the file's shape; `check` tells where that is another one.
    guard problem(join(name), shape) == nil else { return plain }
    let changed = loras.reduce(plain) { $1.change($0, named: place, in: graph) }
    // What the file has in 16 bits can stay so in memory, where sums are of f32.
    guard changed != plain, element == .f32, let stored = checkpoint[join(name)]?.type?.element else {
      return changed
    }
    return graph.cast(graph.cast(changed, stored), element)
  }

  /// A bias, gain or shift: always f32, they cost nothing and lose accuracy in fewer bits.
  public func vector(_ name: String, _ count: Int) -> Value { weight(name, [count], .f32) }

  private func weight(
    _ name: String, _ shape: [Int], _ element: ElementType,
    dtypes: [String] = SafetensorsRecord.floatTypes
  ) -> Value {
    let name = join(name)
    if let problem = problem(name, shape, dtypes) { problems.note(problem) }
    return graph.weight(component + "/" + name, shape, element)
  }

  private func problem(_ name: String, _ shape: [Int], _ dtypes: [String] = SafetensorsRecord.floatTypes)
    -> String?
  {
    guard let record = checkpoint[name] else {
      return "\(name) is missing, the configuration asks for \(shape)"
    }
    guard record.shape == shape else {
      return "\(name) has shape \(record.shape), the configuration asks for \(shape)"
    }
    guard dtypes.contains(record.dtype) else {
      let wanted = [dtypes.dropLast().joined(separator: ", "), dtypes[dtypes.count - 1]].filter {
        !$0.isEmpty
      }
      return "\(name) has the type \(record.dtype), not \(wanted.joined(separator: " or "))"
    }
    return nil
  }

  // MARK: int8

  /// A product's weights as `Quantizer` leaves them, or nil where this is not one of its products. `shape` is
  /// that of the weights in the file, filters first and then what each reads.
  func int8Weights(_ shape: [Int]) -> Int8Weights? {
    guard has(Int8Weights.scaleName) else { return nil }
    let inputs = inputScale(shape[1])
    let ones = graph.constant(Array(repeating: 1, count: shape[1]), [shape[1]])
    return Int8Weights(
      matrix: weight("weight", shape, .i8, dtypes: ["I8"]), scale: vector(Int8Weights.scaleName, shape[0]),
      factors: graph.divide(ones, inputs))
  }

  /// The product's own, or one that it shares with others which read the same.
  private func inputScale(_ count: Int) -> Value {
    guard !has(Int8Weights.inputName), let dot = path.lastIndex(of: ".") else {
      return vector(Int8Weights.inputName, count)
    }
    let shared = Scope(graph, element, component, checkpoint, loras, problems, String(path[..<dot]))
    return shared.vector(Int8Weights.inputName, count)
  }

  /// Throws when a weight asked for so far, here or anywhere in the component, was not as it should be.
  public func check() throws {
    guard problems.count > 0 else { return }
    let rest = problems.count - problems.facts.count
    let facts = problems.facts.joined(separator: "; ") + (rest > 0 ? "; and \(rest) more" : "")
    throw DiffusionError(
      .data, path: checkpoint.path, "tensor " + facts,
      remedy: "The weights and the config.json beside them do not belong together; download both again.")
  }

  private func join(_ name: String) -> String {
    path.isEmpty ? name : name.isEmpty ? path : path + "." + name
  }
}
