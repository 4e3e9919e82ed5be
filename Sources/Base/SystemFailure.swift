import CSystem
import Glibc

/// A call to the system that failed.
public struct SystemFailure: Error, CustomStringConvertible {
  public let description: String
  public init(_ call: String, _ number: Int32 = errno) { description = systemFact(call, number) }
}

/// "bind: Address already in use (EADDRINUSE)", for the error number that `call` left.
public func systemFact(_ call: String, _ number: Int32 = errno) -> String {
  "\(call): \(errorText(number))"
}

/// The system's words for an error number, and its name: "Address already in use (EADDRINUSE)".
public func errorText(_ number: Int32) -> String {
  let name = turbocam_error_name(number).map { String(cString: $0) } ?? "errno \(number)"
  return "\(String(cString: strerror(number))) (\(name))"
}
