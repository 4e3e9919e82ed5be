/// What one op took, with the work it did.
public struct OpTime: Sendable {
  public var label: String
  /// The part of the model that it belongs to, as `Graph.inStage` named it.
  public var stage: String
  public var cadence: Cadence
  /// What it multiplies, which decides how fast a machine can be.
  public var element: ElementType
  public var seconds: Double
  /// Floating-point operations, two for each multiply-add.
  public var operations: Double
  public var byteCount: Int
  /// The time of `node`, whose operands have the types `inputs`; `element` where it multiplies something else
  /// than them.
  public init(
    label: String, node: Node, inputs: [TensorType], seconds: Double, operations: Double,
    element: ElementType? = nil
  ) {
    self.label = label
    stage = node.stage
    cadence = node.cadence
    self.element = element ?? (inputs.first ?? node.type).element
    self.seconds = seconds
    self.operations = operations
    byteCount = inputs.reduce(node.type.byteCount) { $0 + $1.byteCount }
  }
}
