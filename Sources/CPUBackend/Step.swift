import CDNNL
import CKernels
import Engine

/// Something prepared that runs without allocating.
///
/// Works hand raw pointers to C, so `run` keeps its object alive until C has returned: without that, the
/// optimiser may free a work after the last look at its fields.
protocol Runnable: AnyObject {
  func run() throws
  /// What runs it, for profiles: "brgconv:avx512_core_bf16".
  var implementation: String { get }
}

extension Runnable {
  var implementation: String { "kernel" }
}

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

/// A kernel of our own: parameters filled once, items shared out over the threads.
final class KernelWork<Parameters>: Runnable {
  let parameters: UnsafeMutablePointer<Parameters>
  private let body: tc_body
  private let count, grain: Int
  private let keep: [Buffer]

  init(_ body: @escaping tc_body, _ parameters: Parameters, count: Int, grain: Int, keep: [Buffer] = []) {
    self.body = body
    self.parameters = .allocate(capacity: 1)
    self.parameters.initialize(to: parameters)
    self.count = count
    self.grain = grain
    self.keep = keep
  }

  func run() { withExtendedLifetime(self) { tc_parallel(body, parameters, count, grain) } }

  deinit {
    parameters.deinitialize(count: 1)
    parameters.deallocate()
  }
}

/// Works that run one after the other.
final class SequenceWork: Runnable {
  private let works: [any Runnable]
  init(_ works: [any Runnable]) { self.works = works }
  func run() throws { for work in works { try work.run() } }
}

/// Group normalisation: statistics, their combination, and the pass that applies them.
final class GroupNormWork: Runnable {
  let parameters: UnsafeMutablePointer<tc_group_norm>
  private let statistics, apply: tc_body
  private let grain: Int
  private let keep: [Buffer]

  init(_ values: tc_group_norm, keep: [Buffer]) {
    self.keep = keep
    parameters = .allocate(capacity: 1)
    parameters.initialize(to: values)
    statistics = tc_kernel(tc_kernel_group_statistics)
    apply = tc_kernel(tc_kernel_group_apply)
    grain = max(1, 8192 / values.channels)
  }

  func run() {
    withExtendedLifetime(self) {
      tc_parallel(statistics, parameters, parameters.pointee.blocks, 1)
      tc_group_combine(parameters)
      tc_parallel(apply, parameters, parameters.pointee.rows, grain)
    }
  }

  deinit { parameters.deallocate() }
}

/// Attention: keys and values are packed, then blocks of queries meet them.
final class AttentionWork: Runnable {
  let parameters: UnsafeMutablePointer<tc_attention>
  private let pack, attend: tc_body

  init(_ values: inout tc_attention) {
    parameters = .allocate(capacity: 1)
    parameters.initialize(to: values)
    pack = tc_kernel(tc_kernel_attention_pack)
    attend = tc_kernel(tc_kernel_attention)
  }

  func run() {
    withExtendedLifetime(self) {
      tc_parallel(pack, parameters, tc_attention_pack_items(parameters), 1)
      tc_parallel_in_turns(attend, parameters, tc_attention_items(parameters))
    }
  }

  deinit { parameters.deallocate() }
}

/// Memory that steps need only while they run: one piece, as large as the hungriest step asks.
final class Scratch {
  private(set) var byteCount = 0
  private var pending: [(UnsafeMutableRawPointer) throws -> Void] = []
  private var buffer: Buffer?

  /// Asks for memory; `use` is told where it is when all have asked.
  func request(_ byteCount: Int, _ use: @escaping (UnsafeMutableRawPointer) throws -> Void) {
    self.byteCount = max(self.byteCount, byteCount)
    pending.append(use)
  }

  func commit() throws {
    guard !pending.isEmpty else { return }
    let buffer = try Buffer(byteCount)
    for use in pending { try use(buffer.pointer) }
    pending = []
    self.buffer = buffer
  }
}
