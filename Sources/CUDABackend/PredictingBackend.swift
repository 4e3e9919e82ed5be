import Engine

/// A card that need not be there: compiles graphs as `CUDABackend` does, but for a clock that is calculated.
///
/// `profile` of what it compiles gives an entry for each launch; nothing else runs. Weights are not read.
public final class PredictingBackend: Backend {
  public let card: Card
  public let preferredElement = ElementType.f16
  public var wideElement: ElementType { card.capability >= 80 ? .bf16 : .f32 }
  private let fuses: Bool

  /// `fuses` false: the graph as it was written. `tuning`: whether Hopper's warpgroups are among what is
  /// chosen from.
  public init(_ card: Card, fuses: Bool = true, tuning: Tuning = .standard) {
    var card = card
    card.takesWarpgroups = card.capability == 90 && tuning.takesWarpgroups
    self.card = card
    self.fuses = fuses
  }

  public var description: String { "\(card.name), calculated" }

  public func compile(_ graph: Graph, weights: any WeightSource, progress: (CompileProgress) -> Void) throws
    -> any Executable
  {
    PredictedExecutable(
      Plan(fuses ? Fusion.run(graph, endings: Lowering.endings) : graph, rules: Lowering.rules), card)
  }
}

/// A graph with the times that its launches would take.
final class PredictedExecutable: Executable {
  private let plan: Plan
  private let card: Card
  let memory: MemoryUse

  init(_ plan: Plan, _ card: Card) {
    self.plan = plan
    self.card = card
    memory = Self.memory(plan)
  }

  private static func memory(_ plan: Plan) -> MemoryUse {
    let read = plan.loadRoots { _, _ in true }
    var (weights, held) = (0, 0)
    for (index, node) in plan.graph.nodes.enumerated() {
      if read[index] { weights += node.type.byteCount }
      if plan.residences[index] == .held { held += node.type.byteCount }
    }
    return MemoryUse(weights: weights, settings: held, arena: plan.arenaSize)
  }

  func profile() throws -> [OpTime] {
    (plan.settings + plan.frame).flatMap { value in
      let node = plan.graph[value]
      let inputs = node.inputs.map { plan.graph.type($0) }
      return PredictedLaunch.all(of: node, inputs: inputs, card).map { launch in
        var time = OpTime(
          label: launch.kernel, node: node, inputs: inputs, seconds: launch.seconds,
          operations: launch.operations)
        time.byteCount = launch.byteCount
        return time
      }
    }
  }

  func type(of name: String) -> TensorType? {
    if let output = plan.graph.outputs.first(where: { $0.name == name }) {
      return plan.graph.type(output.value)
    }
    return plan.graph.nodes.first { $0.op == .input(name) }?.type
  }

  private func refuse(_ what: String) -> EngineError { .unsupported(what, backend: "a calculated card") }
  func write(_ input: String, _ bytes: UnsafeRawBufferPointer) throws { throw refuse("a frame") }
  func withInput<R>(_ input: String, _ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
    throw refuse("a frame")
  }
  func run() throws { throw refuse("a frame") }
  func withOutput<R>(_ output: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    throw refuse("a frame")
  }
}
