/// How one element of a tensor is stored.
public enum ElementType: String, Hashable, Sendable {
  case f32, bf16, f16, i32, u8, i8

  /// Bytes of one element.
  public var byteCount: Int {
    switch self {
    case .f32, .i32: return 4
    case .bf16, .f16: return 2
    case .u8, .i8: return 1
    }
  }
}

/// Shape and storage of a tensor.
///
/// There is no batch dimension anywhere: the program works on one frame. Pictures are `[H, W, C]`,
/// token sequences `[T, C]`, vectors `[C]`; the last dimension is contiguous in memory.
public struct TensorType: Hashable, Sendable, CustomStringConvertible {
  public var shape: [Int]
  public var element: ElementType

  public init(_ shape: [Int], _ element: ElementType) {
    self.shape = shape
    self.element = element
  }

  /// Number of elements.
  public var count: Int { shape.reduce(1, *) }
  public var byteCount: Int { count * element.byteCount }
  public var description: String { "\(element)[\(shape.map(String.init).joined(separator: ","))]" }
}
