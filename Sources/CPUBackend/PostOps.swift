import CDNNL
import Engine

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
    guard let attributes = created else {
      throw CPUError.libraryMemory(call: "dnnl_primitive_attr_create", op: "post-ops")
    }
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
