import Frames

/// Pictures that a painter has begun and not finished, oldest first.
struct UnderWay: ~Copyable {
  struct Picture: ~Copyable {
    var draft: Draft
    var stamps: Stamps
    var sequence: UInt64
  }

  private let memory: UnsafeMutablePointer<Picture>
  private let capacity: Int
  private var first = 0
  private(set) var count = 0

  /// For at most `capacity` pictures.
  init(capacity: Int) {
    self.capacity = capacity
    memory = .allocate(capacity: capacity)
  }

  var isEmpty: Bool { count == 0 }

  mutating func append(_ picture: consuming Picture) {
    precondition(count < capacity, "more pictures are under way than there is room for")
    (memory + (first + count) % capacity).initialize(to: picture)
    count += 1
  }

  mutating func takeFirst() -> Picture? {
    guard count > 0 else { return nil }
    let picture = (memory + first).move()
    first = (first + 1) % capacity
    count -= 1
    return picture
  }

  deinit {
    for index in 0..<count { (memory + (first + index) % capacity).deinitialize(count: 1) }
    memory.deallocate()
  }
}
