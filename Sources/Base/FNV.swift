/// FNV-1a, 64 bits (Fowler, Noll, Vo): short, and good enough to tell apart what nobody forges.
public struct FNV {
  public private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  public init() {}

  public mutating func add(_ bytes: some Sequence<UInt8>) {
    for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
  }
  /// A text and its end.
  public mutating func add(_ text: String) {
    add(text.utf8)
    add(CollectionOfOne(0))
  }
}
