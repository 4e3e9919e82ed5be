/// What of a graph is to run when, and in which memory.
public struct Plan {
  /// Where a value's memory comes from.
  public enum Residence: Hashable, Sendable {
    /// Nobody reads the value, or its memory is another value's.
    case none
    /// Made by the load program.
    case load
    /// Memory of its own: inputs, outputs, and what another program or another part of the settings reads.
    case held
    /// At this byte offset of the arena, while the program runs.
    case arena(Int)
  }

  public let graph: Graph
  public let layouts: [Layout]
  /// By the index of a root.
  public let residences: [Residence]
  /// For each value of settings cadence, the settings inputs it depends on, a bit each; 0 for others.
  public let masks: [UInt64]
  /// Values to be computed, in order, in each program. Inputs, views and what is assembled of its parts are
  /// not among them.
  public let load, settings, frame: [Value]
  /// Bytes that the larger of the settings and the frame program needs at a time.
  public let arenaSize: Int

  public init(_ graph: Graph, rules: LayoutRules = .plain) {
    self.graph = graph
    let live = Liveness(graph)
    let outputs = Set(graph.outputs.map(\.value))
    masks = SettingsMasks.find(graph)
    let readers = StridedReaders(graph: graph, consumers: live.consumers, outputs: outputs, rules: rules)
    let elision = ConcatElision(graph, live: live, readers: readers)
    var layouts = LayoutPass(graph: graph, readers: readers, elision: elision).run()
    let computed = { (value: Value) in
      if case .input = graph[value].op { return false }
      if elision.results.contains(value) { return false }
      return layouts[value.index].root == value || elision.writers.contains(value)
    }
    let values = graph.nodes.indices.map { Value(index: $0) }.filter { live.isLive[$0.index] }
    let mine = values.filter(computed)
    load = mine.filter { graph[$0].cadence == .load }
    settings = mine.filter { graph[$0].cadence == .settings }
    frame = mine.filter { graph[$0].cadence == .frame }
    let memory = MemoryPass(
      graph: graph, values: values, consumers: live.consumers, outputs: outputs, masks: masks, rules: rules)
    (residences, arenaSize) = memory.run(&layouts)
    self.layouts = layouts
  }

  // MARK: Settings

  /// The settings that steps of the settings program depend on, a group of steps each. A group depends only
  /// on groups of fewer settings, which come first.
  public var settingsMasks: [UInt64] {
    Set(settings.map { masks[$0.index] }).sorted { ($0.nonzeroBitCount, $0) < ($1.nonzeroBitCount, $1) }
  }

  /// The steps of a group, in order.
  public func settings(of mask: UInt64) -> [Value] { settings.filter { masks[$0.index] == mask } }
}

/// Which values an output needs, and who reads each.
struct Liveness {
  let isLive: [Bool]
  /// For each value the live nodes that read it, with the operand's position.
  let consumers: [[(node: Value, operand: Int)]]

  init(_ graph: Graph) {
    var live = [Bool](repeating: false, count: graph.nodes.count)
    for output in graph.outputs { live[output.value.index] = true }
    for index in graph.nodes.indices.reversed() where live[index] {
      for input in graph.nodes[index].inputs { live[input.index] = true }
    }
    // Inputs stay, so that the caller can write them whether or not anybody reads them.
    for (index, node) in graph.nodes.enumerated() {
      if case .input = node.op { live[index] = true }
    }
    var consumers = [[(node: Value, operand: Int)]](repeating: [], count: graph.nodes.count)
    for (index, node) in graph.nodes.enumerated() where live[index] {
      for (operand, input) in node.inputs.enumerated() {
        consumers[input.index].append((Value(index: index), operand))
      }
    }
    isLive = live
    self.consumers = consumers
  }
}

/// Which settings a value depends on: a new strength must not run the text encoder again.
enum SettingsMasks {
  /// A bit for each settings input in order; inputs after the 63rd share the last bit.
  static func find(_ graph: Graph) -> [UInt64] {
    var masks: [UInt64] = []
    var next = 0
    for node in graph.nodes {
      var mask = node.inputs.reduce(0) { $0 | masks[$1.index] }
      if case .input = node.op, node.cadence == .settings {
        mask = 1 << UInt64(min(next, 63))
        next += 1
      }
      // A frame's steps all run, whatever was written.
      masks.append(node.cadence == .settings ? mask : 0)
    }
    return masks
  }
}
