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
