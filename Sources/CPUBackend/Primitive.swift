import Base
import CDNNL

/// A primitive with its descriptor.
final class Primitive {
  let raw: dnnl_primitive_t
  private let descriptor: dnnl_primitive_desc_t

  /// Lets one thread at a time make primitives.
  ///
  /// oneDNN says that any thread may, but in 2.6 a brgemm convolution made while another thread makes one now
  /// and then computes nonsense for good: about one in six thousand, none with this lock. Running needs no
  /// lock.
  private static let creation = Lock()

  /// Takes `descriptor` over; under the lock.
  private init(descriptor: dnnl_primitive_desc_t, op: String) throws {
    var created: dnnl_primitive_t?
    let status = dnnl_primitive_create(&created, descriptor)
    guard status == dnnl_success, let created else {
      dnnl_primitive_desc_destroy(descriptor)
      try check(status, "dnnl_primitive_create", op)
      throw CPUError.libraryMemory(call: "dnnl_primitive_create", op: op)
    }
    raw = created
    self.descriptor = descriptor
  }

  /// A primitive from oneDNN's description of an operation.
  static func make(_ dnnl: DNNL, _ operation: UnsafeRawPointer, _ postOps: PostOps, op: String) throws
    -> Primitive
  {
    try creation.withLock { try Primitive(dnnl, operation, postOps, op: op) }
  }

  /// A copy from one layout or element type to another.
  static func reorder(_ dnnl: DNNL, from: Descriptor, to: Descriptor, op: String) throws -> Primitive {
    try creation.withLock { try Primitive(reorder: dnnl, from: from, to: to, op: op) }
  }

  private convenience init(_ dnnl: DNNL, _ operation: UnsafeRawPointer, _ postOps: PostOps, op: String) throws
  {
    let attributes = try postOps.attributes()
    defer { dnnl_primitive_attr_destroy(attributes) }
    var descriptor: dnnl_primitive_desc_t?
    let status = dnnl_primitive_desc_create(&descriptor, operation, attributes, dnnl.engine, nil)
    try check(status, "dnnl_primitive_desc_create", op)
    guard let descriptor else {
      throw CPUError.libraryMemory(call: "dnnl_primitive_desc_create", op: op)
    }
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
    guard let descriptor else {
      throw CPUError.libraryMemory(call: "dnnl_reorder_primitive_desc_create", op: op)
    }
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
