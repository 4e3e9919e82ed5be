/// Gives every value its memory: held where somebody outside its program reads it, else a place in the arena
/// that it shares with values of other lifetimes.
struct MemoryPass {
  let graph: Graph
  /// Live values in order.
  let values: [Value]
  let consumers: [[(node: Value, operand: Int)]]
  let outputs: Set<Value>
  let masks: [UInt64]
  let rules: LayoutRules

  func run(_ layouts: inout [Layout]) -> (residences: [Plan.Residence], arenaSize: Int) {
    var held = [Bool](repeating: false, count: graph.nodes.count)
    var lastUse = Array(graph.nodes.indices)
    var firstUse = lastUse
    for value in values {
      let root = layouts[value.index].root
      // Parts of what is assembled are written before it is there as a whole.
      firstUse[root.index] = min(firstUse[root.index], value.index)
      if mustHold(value) { held[root.index] = true }
      for consumer in consumers[value.index] {
        lastUse[root.index] = max(lastUse[root.index], consumer.node.index)
      }
    }
    overwrite(&layouts, &lastUse, held)
    return place(layouts, firstUse, lastUse, held)
  }

  private func mustHold(_ value: Value) -> Bool {
    if outputs.contains(value) { return true }
    if case .input = graph[value].op { return true }
    let cadence = graph[value].cadence
    return consumers[value.index].contains {
      graph[$0.node].cadence != cadence
        || (cadence == .settings && masks[$0.node.index] != masks[value.index])
    }
  }

  /// Lets results take the memory of operands that die with them.
  private func overwrite(_ layouts: inout [Layout], _ lastUse: inout [Int], _ held: [Bool]) {
    for value in values where layouts[value.index].root == value && !held[value.index] {
      let node = graph[value]
      guard node.cadence != .load else { continue }
      for operand in rules.overwrites(node) {
        let victim = node.inputs[operand]
        let root = layouts[victim.index].root
        let others = node.inputs.indices.filter { $0 != operand }.map { layouts[node.inputs[$0].index].root }
        guard graph[root].cadence == node.cadence, !held[root.index], lastUse[root.index] == value.index,
          !others.contains(root), layouts[victim.index].offset == 0,
          layouts[victim.index].rowStride == graph.type(victim).columns,
          // Each element in its own place: of a part that grows to the whole, some would be lost unread.
          graph.type(victim).byteCount == node.type.byteCount,
          graph.type(root).byteCount == node.type.byteCount, masks[root.index] == masks[value.index]
        else { continue }
        lastUse[root.index] = lastUse[value.index]
        moveViews(of: value, to: root, &layouts)
        break
      }
    }
  }

  /// Makes the value and all views of it views of `root`, at the same place.
  private func moveViews(of value: Value, to root: Value, _ layouts: inout [Layout]) {
    for index in value.index..<layouts.count where layouts[index].root == value { layouts[index].root = root }
  }

  /// Greedy by size: the largest first, each at the lowest place that is free in its whole lifetime.
  private func place(_ layouts: [Layout], _ firstUse: [Int], _ lastUse: [Int], _ held: [Bool])
    -> ([Plan.Residence], Int)
  {
    var residences = [Plan.Residence](repeating: .none, count: graph.nodes.count)
    var movable: [Value] = []
    for value in values where layouts[value.index].root == value {
      switch graph[value].cadence {
      case .load: residences[value.index] = .load
      case _ where held[value.index]: residences[value.index] = .held
      default: movable.append(value)
      }
    }
    var arena = Arena()
    let order = movable.sorted {
      (graph.type($0).byteCount, $1.index) > (graph.type($1).byteCount, $0.index)
    }
    for value in order {
      let offset = arena.place(
        byteCount: graph.type(value).byteCount, from: firstUse[value.index], through: lastUse[value.index],
        program: graph[value].cadence)
      residences[value.index] = .arena(offset)
    }
    return (residences, arena.size)
  }
}

/// Blocks of memory with lifetimes. Blocks of different programs never meet.
struct Arena {
  private struct Block {
    var offset, end, first, last: Int
    var program: Cadence
  }
  /// Sorted by offset.
  private var blocks: [Block] = []
  private(set) var size = 0

  static let alignment = 64

  /// Offset of a new block that lives from step `from` through step `through`.
  mutating func place(byteCount: Int, from: Int, through: Int, program: Cadence) -> Int {
    let length = (byteCount + Self.alignment - 1) / Self.alignment * Self.alignment
    var offset = 0
    for block in blocks
    where block.program == program && block.first <= through && from <= block.last {
      if block.offset >= offset + length { break }
      offset = max(offset, block.end)
    }
    let block = Block(offset: offset, end: offset + length, first: from, last: through, program: program)
    let position = blocks.firstIndex { $0.offset > offset } ?? blocks.count
    blocks.insert(block, at: position)
    size = max(size, block.end)
    return offset
  }
}
