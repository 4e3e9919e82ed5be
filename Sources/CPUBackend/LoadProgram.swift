import CKernels
import Engine

/// The load program: reads weights, computes what depends on weights alone, and keeps only the forms that the
/// other programs asked for. Values in between live until their last reader has run.
final class LoadProgram {
  private struct Need {
    var buffer: Buffer
    /// nil for the plain one.
    var form: PackedForm?
    var key: WeightCache<Buffer>.Key
  }

  private let plan: Plan
  private let dnnl: DNNL
  private let threads: Int
  private let source: any WeightSource
  private let cache: WeightCache<Buffer>
  private let numbers: [Int]
  /// Forms to be filled, by the value's index.
  private var needs: [[Need]]
  private var known: [WeightCache<Buffer>.Key: Buffer] = [:]
  /// What was asked for, in bytes by buffer: programs share them.
  var sizes: [ObjectIdentifier: Int] {
    Dictionary(known.values.map { (ObjectIdentifier($0), $0.byteCount) }) { first, _ in first }
  }

  init(_ plan: Plan, _ dnnl: DNNL, threads: Int, source: any WeightSource, cache: WeightCache<Buffer>) {
    self.plan = plan
    self.dnnl = dnnl
    self.threads = threads
    self.source = source
    self.cache = cache
    numbers = cache.number(plan.graph)
    needs = Array(repeating: [], count: plan.graph.nodes.count)
  }

  /// Memory that will hold a load value, in a packed form or plain (then `value` is a root).
  func require(_ value: Value, _ form: PackedForm?) throws -> Buffer {
    let type = plan.graph.type(value)
    let (layout, byteCount) = form?.layout(of: type) ?? ([], type.byteCount)
    let key = WeightCache<Buffer>.Key(expression: numbers[value.index], layout: layout)
    if let buffer = known[key] { return buffer }
    let (buffer, isFilled) = try cache.buffer(key) { try Buffer(byteCount) }
    known[key] = buffer
    if !isFilled { needs[value.index].append(Need(buffer: buffer, form: form, key: key)) }
    return buffer
  }

  /// Bytes that `run` will fill.
  var awaitedByteCount: Int { needs.joined().reduce(0) { $0 + $1.buffer.byteCount } }

  /// Bytes that values in between, and the spare memory they leave, take at the most while `run` runs.
  var temporaryByteCount: Int {
    var sizes: [Value: Int] = [:]
    var spare: [Int] = []
    var (held, most) = (0, 0)
    for step in LoadSchedule(plan, isNeeded: { !needs[$0.index].isEmpty }).steps {
      let byteCount = plan.graph.type(step.value).byteCount
      if let index = LoadTemporaries.fitting(byteCount, spare) {
        sizes[step.value] = spare.remove(at: index)
      } else {
        sizes[step.value] = Buffer.size(byteCount)
        held += Buffer.size(byteCount)
      }
      most = max(most, held)
      for root in step.drops {
        guard let size = sizes.removeValue(forKey: root) else { continue }
        spare.append(size)
        if spare.count > LoadTemporaries.mostSpare { held -= spare.removeFirst() }
      }
    }
    return most
  }

  /// The element type in the file of weights.
  func stored(_ value: Value) -> ElementType { plan.graph.stored(value, in: source) }

  /// Computes what was asked for.
  func run(progress: (CompileProgress) -> Void) throws {
    let schedule = LoadSchedule(plan) { !needs[$0.index].isEmpty }
    let temporary = LoadTemporaries(plan, dnnl, threads: threads)
    let needed = needs.indices.filter { !needs[$0].isEmpty }.map { Value(index: $0) }
    do {
      for (done, step) in schedule.steps.enumerated() {
        try compute(step.value, temporary)
        // The value and the load values that look at its memory.
        for view in needed where plan.layouts[view.index].root == step.value { try fill(view, temporary) }
        for root in step.drops { temporary.drop(root) }
        progress(.weights(Double(done + 1) / Double(schedule.steps.count)))
      }
    } catch {
      cache.forget(needs.flatMap { $0.map(\.key) })
      throw error
    }
    needs = Array(repeating: [], count: plan.graph.nodes.count)
  }

  /// The same with a cache of its own: for whoever reads weights while another thread compiles with the
  /// shared one.
  func apart() -> LoadProgram {
    LoadProgram(plan, dnnl, threads: threads, source: source, cache: WeightCache(source))
  }

  /// Lets go of what was made: it lives on while somebody else uses it.
  func release() { known = [:] }

  private func compute(_ value: Value, _ temporary: LoadTemporaries) throws {
    let node = plan.graph[value]
    let memory = try temporary.make(value)
    switch node.op {
    case .weight(let name): try read(name, node.type, into: memory)
    case .constant(let numbers):
      numbers.withUnsafeBytes {
        if let base = $0.baseAddress { memory.copyMemory(from: base, byteCount: $0.count) }
      }
    default: try temporary.run(value)
    }
  }

  /// The tensor's type in the checkpoint, which must have the shape.
  @discardableResult
  func check(_ name: String, _ type: TensorType) throws -> TensorType {
    guard let found = source.type(of: name) else { throw EngineError.missingWeight(name) }
    guard found.shape == type.shape else {
      throw EngineError.weightShape(name, expected: type.shape, found: found.shape)
    }
    return found
  }

  /// Converts a tensor of the checkpoint to the node's element type.
  private func read(_ name: String, _ type: TensorType, into memory: UnsafeMutableRawPointer) throws {
    let found = try check(name, type)
    var filled = 0
    try source.withPieces(of: name) { place, bytes in
      guard place == filled, bytes.count <= found.byteCount - filled, let base = bytes.baseAddress else {
        throw EngineError.byteCount(name, expected: found.byteCount, found: place + bytes.count)
      }
      let size = found.element.byteCount
      Self.convert(
        base, found.element, to: memory + filled / size * type.element.byteCount, type.element,
        count: bytes.count / size)
      filled += bytes.count
    }
    guard filled == found.byteCount else {
      throw EngineError.byteCount(name, expected: found.byteCount, found: filled)
    }
  }

  private static func convert(
    _ from: UnsafeRawPointer, _ source: ElementType, to: UnsafeMutableRawPointer, _ element: ElementType,
    count: Int
  ) {
    if source == element {
      to.copyMemory(from: from, byteCount: count * element.byteCount)
      return
    }
    let parameters = tc_map(
      source: from, destination: to, rows: 1, columns: count, source_stride: count,
      destination_stride: count, source_element: Lowering.code(source),
      destination_element: Lowering.code(element), function: tc_identity, a: 0, b: 0)
    KernelWork(tc_kernel(tc_kernel_map), parameters, count: tc_chunks(count), grain: 64).run()
  }

  private func fill(_ value: Value, _ temporary: LoadTemporaries) throws {
    for need in needs[value.index] {
      let operand = try temporary.lowering.operand(value)
      if let form = need.form {
        try form.work(temporary.lowering, operand, into: need.buffer).run()
      } else {
        need.buffer.pointer.copyMemory(from: operand.pointer, byteCount: operand.type.byteCount)
      }
    }
  }
}

extension Graph {
  /// The element type that a load value has in the file of weights, and of what only puts weights beside each
  /// other, or the one that it was rounded to.
  func stored(_ value: Value, in source: any WeightSource) -> ElementType {
    let node = self[value]
    switch node.op {
    case .weight(let name): return source.type(of: name)?.element ?? node.type.element
    case .concat, .reshape, .slice, .transpose:
      let parts = Set(node.inputs.map { stored($0, in: source) })
      return parts.count == 1 ? parts.first ?? node.type.element : node.type.element
    // Numbers that were rounded to fewer bits fit in them.
    case .cast where node.type.element == .f32 && type(node.inputs[0]).element.byteCount == 2:
      return type(node.inputs[0]).element
    default: return node.type.element
    }
  }
}
