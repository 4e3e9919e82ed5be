/// Where weights come from: a checkpoint, or numbers made for a test.
public protocol WeightSource: AnyObject {
  /// Shape and stored element type of a tensor, or nil where there is none of that name.
  func type(of name: String) -> TensorType?
  /// Calls `body` with the tensor's bytes, row-major in `type(of:)`, unaligned. The bytes are valid during
  /// the call only.
  func withBytes<R>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R
  /// The same, piece by piece in order: `body` gets the place of the piece's first byte too. Pieces are whole
  /// elements.
  func withPieces(of name: String, _ body: (Int, UnsafeRawBufferPointer) throws -> Void) throws
}

extension WeightSource {
  public func withPieces(of name: String, _ body: (Int, UnsafeRawBufferPointer) throws -> Void) throws {
    try withBytes(of: name) { try body(0, $0) }
  }
}
