import CDNNL
import Engine

/// oneDNN's engine and stream for the processor.
final class DNNL {
  let engine: dnnl_engine_t
  let stream: dnnl_stream_t

  init() throws {
    var engine: dnnl_engine_t?
    try check(dnnl_engine_create(&engine, dnnl_cpu, 0), "dnnl_engine_create", "the processor")
    var stream: dnnl_stream_t?
    let status = dnnl_stream_create(&stream, engine, UInt32(dnnl_stream_default_flags.rawValue))
    guard status == dnnl_success, let engine, let stream else {
      if let engine { dnnl_engine_destroy(engine) }
      try check(status, "dnnl_stream_create", "the processor")
      throw CPUError.library(call: "dnnl_stream_create", status: "nothing", op: "the processor")
    }
    self.engine = engine
    self.stream = stream
  }

  deinit {
    dnnl_stream_destroy(stream)
    dnnl_engine_destroy(engine)
  }

  /// Whether the processor (within ONEDNN_MAX_CPU_ISA) has all of an instruction set.
  static func has(_ isa: dnnl_cpu_isa_t) -> Bool {
    dnnl_get_effective_cpu_isa().rawValue & isa.rawValue == isa.rawValue
  }

  static var version: String {
    let version = dnnl_version().pointee
    return "\(version.major).\(version.minor).\(version.patch)"
  }
}

/// Shape, element type and layout as oneDNN has them.
struct Descriptor {
  var raw: dnnl_memory_desc_t

  /// Strides count elements.
  init(_ dimensions: [Int], _ element: ElementType, strides: [Int]) throws {
    raw = dnnl_memory_desc_t()
    let dims = dimensions.map { Int64($0) }
    let steps = strides.map { Int64($0) }
    let status = dnnl_memory_desc_init_by_strides(
      &raw, Int32(dims.count), dims, try Self.type(element), steps)
    try check(status, "dnnl_memory_desc_init_by_strides", "\(element)\(dimensions)")
  }

  /// A layout that the primitive chooses.
  init(any dimensions: [Int], _ element: ElementType) throws {
    raw = dnnl_memory_desc_t()
    let dims = dimensions.map { Int64($0) }
    let status = dnnl_memory_desc_init_by_tag(
      &raw, Int32(dims.count), dims, try Self.type(element), dnnl_format_tag_any)
    try check(status, "dnnl_memory_desc_init_by_tag", "\(element)\(dimensions)")
  }

  init(raw: dnnl_memory_desc_t) { self.raw = raw }

  /// f32, a number for each channel (the second dimension), that broadcasts to this shape.
  func perChannel() throws -> Descriptor {
    let channels = withUnsafeBytes(of: raw.dims) { Int($0.load(fromByteOffset: 8, as: Int64.self)) }
    let rank = Int(raw.ndims)
    let shape = [1, channels] + Array(repeating: 1, count: rank - 2)
    return try Descriptor(shape, .f32, strides: [channels] + Array(repeating: 1, count: rank - 1))
  }

  var byteCount: Int { withUnsafePointer(to: raw) { dnnl_memory_desc_get_size($0) } }

  /// Equal for equal layouts: a key for packed weights.
  var bytes: [UInt8] { withUnsafeBytes(of: raw) { Array($0) } }

  private static func type(_ element: ElementType) throws -> dnnl_data_type_t {
    switch element {
    case .f32: return dnnl_f32
    case .bf16: return dnnl_bf16
    case .i32: return dnnl_s32
    case .u8: return dnnl_u8
    case .i8: return dnnl_s8
    case .f16: throw CPUError.element("f16", op: "a oneDNN primitive")
    }
  }
}

/// A described piece of memory that somebody else owns.
final class Memory {
  let raw: dnnl_memory_t
  private let owner: AnyObject?

  init(_ dnnl: DNNL, _ descriptor: Descriptor, _ pointer: UnsafeMutableRawPointer?, owner: AnyObject? = nil)
    throws
  {
    var memory: dnnl_memory_t?
    let status = withUnsafePointer(to: descriptor.raw) {
      dnnl_memory_create(&memory, $0, dnnl.engine, pointer)
    }
    guard status == dnnl_success, let memory else {
      try check(status, "dnnl_memory_create", "\(descriptor.byteCount) bytes")
      throw CPUError.memory(byteCount: descriptor.byteCount)
    }
    raw = memory
    self.owner = owner
  }

  func move(to pointer: UnsafeMutableRawPointer) throws {
    try check(dnnl_memory_set_data_handle(raw, pointer), "dnnl_memory_set_data_handle", "scratch memory")
  }

  deinit { dnnl_memory_destroy(raw) }
}

/// What follows a product, for a primitive's attributes.
struct PostOps {
  enum Operation {
    /// Adds what the destination held.
    case sum
    /// Adds an operand of the destination's shape.
    case add(Descriptor)
    /// Multiplies by an operand whose shape broadcasts to the destination's.
    case multiply(Descriptor)
    case activation(Activation)
  }
  var operations: [Operation] = []

  /// Attributes to be destroyed by the caller, with scratch memory that the caller gives.
  func attributes() throws -> dnnl_primitive_attr_t {
    var created: dnnl_primitive_attr_t?
    try check(dnnl_primitive_attr_create(&created), "dnnl_primitive_attr_create", "post-ops")
    guard let attributes = created else { throw CPUError.memory(byteCount: 0) }
    do {
      let status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user)
      try check(status, "dnnl_primitive_attr_set_scratchpad_mode", "post-ops")
      if !operations.isEmpty { try append(to: attributes) }
    } catch {
      dnnl_primitive_attr_destroy(attributes)
      throw error
    }
    return attributes
  }

  private func append(to attributes: dnnl_primitive_attr_t) throws {
    var list: dnnl_post_ops_t?
    try check(dnnl_post_ops_create(&list), "dnnl_post_ops_create", "post-ops")
    defer { dnnl_post_ops_destroy(list) }
    for operation in operations {
      switch operation {
      case .sum: try check(dnnl_post_ops_append_sum(list, 1), "dnnl_post_ops_append_sum", "residual")
      case .add(let descriptor): try append(dnnl_binary_add, descriptor, to: list, "residual")
      case .multiply(let descriptor): try append(dnnl_binary_mul, descriptor, to: list, "scale")
      case .activation(let activation):
        let (kind, alpha) = Self.eltwise(activation)
        try check(
          dnnl_post_ops_append_eltwise(list, 1, kind, alpha, 0), "dnnl_post_ops_append_eltwise",
          activation.rawValue)
      }
    }
    try check(
      dnnl_primitive_attr_set_post_ops(attributes, list), "dnnl_primitive_attr_set_post_ops", "post-ops")
  }

  private func append(
    _ kind: dnnl_alg_kind_t, _ operand: Descriptor, to list: dnnl_post_ops_t?, _ what: String
  ) throws {
    let status = withUnsafePointer(to: operand.raw) { dnnl_post_ops_append_binary(list, kind, $0) }
    try check(status, "dnnl_post_ops_append_binary", what)
  }

  private static func eltwise(_ activation: Activation) -> (dnnl_alg_kind_t, Float) {
    switch activation {
    case .silu: return (dnnl_eltwise_swish, 1)
    case .quickGelu: return (dnnl_eltwise_swish, 1.702)
    case .gelu: return (dnnl_eltwise_gelu_erf, 0)
    case .relu: return (dnnl_eltwise_relu, 0)
    case .tanh: return (dnnl_eltwise_tanh, 0)
    case .exp: return (dnnl_eltwise_exp, 0)
    }
  }
}

/// A primitive with its descriptor.
final class Primitive {
  let raw: dnnl_primitive_t
  private let descriptor: dnnl_primitive_desc_t

  /// Takes `descriptor` over; under the lock.
  private init(descriptor: dnnl_primitive_desc_t, op: String) throws {
    var created: dnnl_primitive_t?
    let status = dnnl_primitive_create(&created, descriptor)
    guard status == dnnl_success, let created else {
      dnnl_primitive_desc_destroy(descriptor)
      try check(status, "dnnl_primitive_create", op)
      throw CPUError.memory(byteCount: 0)
    }
    raw = created
    self.descriptor = descriptor
  }

  /// A primitive from oneDNN's description of an operation.
  static func make(_ dnnl: DNNL, _ operation: UnsafeRawPointer, _ postOps: PostOps, op: String) throws
    -> Primitive
  {
    try CreationLock.hold { try Primitive(dnnl, operation, postOps, op: op) }
  }

  /// A copy from one layout or element type to another.
  static func reorder(_ dnnl: DNNL, from: Descriptor, to: Descriptor, op: String) throws -> Primitive {
    try CreationLock.hold { try Primitive(reorder: dnnl, from: from, to: to, op: op) }
  }

  private convenience init(_ dnnl: DNNL, _ operation: UnsafeRawPointer, _ postOps: PostOps, op: String) throws
  {
    let attributes = try postOps.attributes()
    defer { dnnl_primitive_attr_destroy(attributes) }
    var descriptor: dnnl_primitive_desc_t?
    let status = dnnl_primitive_desc_create(&descriptor, operation, attributes, dnnl.engine, nil)
    try check(status, "dnnl_primitive_desc_create", op)
    guard let descriptor else { throw CPUError.memory(byteCount: 0) }
    try self.init(descriptor: descriptor, op: op)
  }

  private convenience init(reorder dnnl: DNNL, from: Descriptor, to: Descriptor, op: String) throws {
    let attributes = try PostOps().attributes()
    defer { dnnl_primitive_attr_destroy(attributes) }
    var descriptor: dnnl_primitive_desc_t?
    let status = withUnsafePointer(to: from.raw) { from in
      withUnsafePointer(to: to.raw) { to in
        dnnl_reorder_primitive_desc_create(&descriptor, from, dnnl.engine, to, dnnl.engine, attributes)
      }
    }
    try check(status, "dnnl_reorder_primitive_desc_create", op)
    guard let descriptor else { throw CPUError.memory(byteCount: 0) }
    try self.init(descriptor: descriptor, op: op)
  }

  /// Name of oneDNN's implementation: "brgconv:avx512_core_bf16".
  var implementation: String {
    var text: UnsafePointer<CChar>?
    dnnl_primitive_desc_query(descriptor, dnnl_query_impl_info_str, 0, &text)
    return text.map { String(cString: $0) } ?? ""
  }

  var weights: Descriptor? { query(dnnl_query_weights_md) }
  var scratchpad: Descriptor? { query(dnnl_query_scratchpad_md) }

  private func query(_ what: dnnl_query_t) -> Descriptor? {
    dnnl_primitive_desc_query_md(descriptor, what, 0).map { Descriptor(raw: $0.pointee) }
  }

  deinit {
    dnnl_primitive_destroy(raw)
    dnnl_primitive_desc_destroy(descriptor)
  }
}
