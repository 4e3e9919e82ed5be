import CDNNL
import CKernels
import Engine

/// A step of a program.
struct Step {
  var work: any Runnable
  /// The value it makes.
  var value: Value
  /// The settings it depends on.
  var mask: UInt64
  var label: String
  /// Whether it only brings the value into another form.
  var isPacking = false

  /// Subnormal numbers, of which f32's softmax makes many, are zeros meanwhile.
  func run() throws {
    let mode = tc_flush_subnormals()
    defer { tc_set_float_mode(mode) }
    try work.run()
  }
}

/// A oneDNN primitive with its memory bound.
final class PrimitiveWork: Runnable {
  private let primitive: Primitive
  private let stream: dnnl_stream_t
  private let memories: [Memory]
  private let arguments: UnsafeMutablePointer<dnnl_exec_arg_t>

  init(_ dnnl: DNNL, _ primitive: Primitive, _ bound: [(argument: Int32, memory: Memory)]) {
    self.primitive = primitive
    stream = dnnl.stream
    memories = bound.map(\.memory)
    arguments = .allocate(capacity: bound.count)
    for (index, pair) in bound.enumerated() {
      (arguments + index).initialize(to: dnnl_exec_arg_t(arg: pair.argument, memory: pair.memory.raw))
    }
  }

  var implementation: String { primitive.implementation }

  func run() throws {
    let status = withExtendedLifetime(self) {
      dnnl_primitive_execute(primitive.raw, stream, Int32(memories.count), arguments)
    }
    try check(status, "dnnl_primitive_execute", primitive.implementation)
  }

  deinit { arguments.deallocate() }
}

/// Works that run one after the other.
final class SequenceWork: Runnable {
  private let works: [any Runnable]
  init(_ works: [any Runnable]) { self.works = works }
  func run() throws { for work in works { try work.run() } }
}
