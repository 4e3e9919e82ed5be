/// In which order load values are computed, and when the memory of each can go.
public struct LoadSchedule {
  public struct Step {
    public var value: Value
    /// Roots that nobody reads after this step.
    public var drops: [Value]
  }
  public private(set) var steps: [Step] = []

  /// Steps for the load values that somebody outside the load program needs, and for those they are made of.
  public init(_ plan: Plan, isNeeded: (Value) -> Bool) {
    let wanted = Self.wanted(plan, isNeeded)
    var readers = [Int](repeating: 0, count: wanted.count)
    let values = Self.inTurns(plan.load.filter { wanted[$0.index] }, plan)
    for value in values {
      for root in Self.roots(of: value, plan) { readers[root.index] += 1 }
    }
    for value in values {
      var drops: [Value] = []
      for root in Self.roots(of: value, plan) {
        readers[root.index] -= 1
        if readers[root.index] == 0 { drops.append(root) }
      }
      if readers[value.index] == 0 { drops.append(value) }
      steps.append(Step(value: value, drops: drops))
    }
  }

  /// The values (parts before what is made of them) with each right after its parts, so that few parts lie in memory at a
  /// time: what fusion makes of weights comes last in a graph. What reads the first weights comes first, as files have them.
  private static func inTurns(_ values: [Value], _ plan: Plan) -> [Value] {
    var isPart = [Bool](repeating: false, count: plan.graph.nodes.count)
    var earliest = Array(isPart.indices)
    for value in values {
      for part in roots(of: value, plan) {
        isPart[part.index] = true
        earliest[value.index] = min(earliest[value.index], earliest[part.index])
      }
    }
    let whole = values.filter { !isPart[$0.index] }
    var turns: [Value] = []
    var isDone = [Bool](repeating: false, count: isPart.count)
    func append(_ value: Value) {
      guard !isDone[value.index] else { return }
      isDone[value.index] = true
      for part in roots(of: value, plan) { append(part) }
      turns.append(value)
    }
    for value in whole.sorted(by: { (earliest[$0.index], $0.index) < (earliest[$1.index], $1.index) }) {
      append(value)
    }
    return turns
  }

  /// By index, the roots that a need depends on.
  private static func wanted(_ plan: Plan, _ isNeeded: (Value) -> Bool) -> [Bool] {
    var wanted = [Bool](repeating: false, count: plan.graph.nodes.count)
    for index in wanted.indices.reversed() {
      let value = Value(index: index)
      if isNeeded(value) { wanted[plan.layouts[index].root.index] = true }
      guard wanted[index], plan.layouts[index].root == value else { continue }
      for root in roots(of: value, plan) { wanted[root.index] = true }
    }
    return wanted
  }

  /// Whose memory the value's operands lie in, once for each operand.
  private static func roots(of value: Value, _ plan: Plan) -> [Value] {
    plan.graph[value].inputs.map { plan.layouts[$0.index].root }
  }
}

extension Plan {
  /// By index, the load roots that steps of other programs (nil: all) or the caller read as they are; `reads` says
  /// whether a node reads operand `index` itself and not a packed form of it.
  public func loadRoots(of steps: [Value]? = nil, _ reads: (_ node: Node, _ index: Int) -> Bool) -> [Bool] {
    var read = [Bool](repeating: false, count: graph.nodes.count)
    for value in steps ?? settings + frame {
      let node = graph[value]
      for (index, input) in node.inputs.enumerated()
      where graph[input].cadence == .load && reads(node, index) {
        read[layouts[input.index].root.index] = true
      }
    }
    for output in graph.outputs where graph[output.value].cadence == .load {
      read[layouts[output.value.index].root.index] = true
    }
    return read
  }
}

extension Graph {
  /// An op with its shapes, for errors and profiles: "linear f16[256,640] f16[640,640] → f16[256,640]".
  public func describe(_ value: Value) -> String {
    let node = self[value]
    let inputs = node.inputs.map { type($0).description }.joined(separator: " ")
    let name: String
    switch node.op {
    case .constant: name = "constant"
    default: name = "\(node.op)".split(separator: "(", maxSplits: 1).first.map(String.init) ?? ""
    }
    return "\(name) \(inputs) → \(node.type)"
  }
}
