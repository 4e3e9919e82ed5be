import Engine

/// Who has packed forms of values for a `Lowering`: `Programs` for steps that run often, which keeps them,
/// and `LoadTemporaries` for those that run once.
protocol Packer: AnyObject {
  /// Memory with the packed form of `value`, filled before what reads it runs.
  func pack(_ value: Value, _ form: PackedForm) throws -> Buffer
  /// An element type that holds every number of `value`: of weights, the one in the file.
  func stored(_ value: Value) -> ElementType
}
