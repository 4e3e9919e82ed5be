import Glibc

/// A few bytes of ASCII, written without allocating: the headers between frames.
struct TextBuffer: ~Copyable {
  private let storage: UnsafeMutableRawBufferPointer
  private(set) var count = 0

  init(capacity: Int) { storage = .allocate(byteCount: capacity, alignment: 1) }
  deinit { storage.deallocate() }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: storage[..<count]) }

  mutating func clear() { count = 0 }

  mutating func append(_ text: StaticString) {
    let fits = min(text.utf8CodeUnitCount, storage.count - count)
    memcpy(storage.baseAddress! + count, text.utf8Start, fits)
    count += fits
  }

  /// In decimal, with at least `digits` digits.
  mutating func append(_ number: UInt64, digits: Int = 1) {
    var rest = number
    var length = 0
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { reversed in
      repeat {
        reversed[length] = UInt8(ascii: "0") + UInt8(rest % 10)
        rest /= 10
        length += 1
      } while rest > 0 || length < min(digits, 20)
      while length > 0, count < storage.count {
        length -= 1
        storage[count] = reversed[length]
        count += 1
      }
    }
  }
}
