import Base
import Glibc

/// Runs `body` while threads are to have stacks of so many bytes: of more than can be mapped, none can be made. It is so
/// for the whole process.
public func withThreadStacks<R>(of byteCount: Int, _ body: () throws -> R) throws -> R {
  typealias Attributes = @convention(c) (UnsafeMutablePointer<pthread_attr_t>) -> Int32
  func entry(_ name: String) throws -> Attributes {
    guard let found = dlsym(nil, name) else { throw SystemFailure("dlsym \(name)", ENOSYS) }
    return unsafeBitCast(found, to: Attributes.self)
  }
  func check(_ code: Int32, _ call: String) throws {
    guard code == 0 else { throw SystemFailure(call, code) }
  }
  let (get, set) = (try entry("pthread_getattr_default_np"), try entry("pthread_setattr_default_np"))
  var attributes = pthread_attr_t()
  var size = 0
  try check(get(&attributes), "pthread_getattr_default_np")
  try check(pthread_attr_getstacksize(&attributes, &size), "pthread_attr_getstacksize")
  try check(pthread_attr_setstacksize(&attributes, byteCount), "pthread_attr_setstacksize")
  try check(set(&attributes), "pthread_setattr_default_np")
  defer {
    pthread_attr_setstacksize(&attributes, size)
    _ = set(&attributes)
  }
  return try body()
}
