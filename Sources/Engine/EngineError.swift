/// An error of a backend after which trying again may help.
public protocol BackendError: Error {
  /// Whether everything that the backend compiled is gone. Compiled anew, it may work again.
  var endsPrograms: Bool { get }
  /// Whether only memory is missing that the machine has and something else holds for now.
  var wantsMemory: Bool { get }
}

/// What can go wrong between a graph and its running.
public enum EngineError: Error, CustomStringConvertible, Equatable {
  /// The checkpoint has no tensor of this name.
  case missingWeight(String)
  /// The checkpoint's tensor has another shape than the model's configuration asks for.
  case weightShape(String, expected: [Int], found: [Int])
  /// The graph has no input or output of this name.
  case unknownName(String)
  /// Bytes written to an input do not have its size.
  case byteCount(String, expected: Int, found: Int)
  /// The backend has no way to run this.
  case unsupported(String, backend: String)

  public var description: String {
    switch self {
    case .missingWeight(let name): return "tensor \(name) is not in the checkpoint"
    case .weightShape(let name, let expected, let found):
      return "tensor \(name) has shape \(found), the configuration asks for \(expected)"
    case .unknownName(let name): return "the graph has no input or output named \(name)"
    case .byteCount(let name, let expected, let found):
      return "\(name) takes \(expected) bytes, \(found) were given"
    case .unsupported(let what, let backend): return "\(backend) cannot run \(what)"
    }
  }
}
