/// Reading and writing elements of any type as floats, for the reference backend, weights and tests.
public enum ElementCodec {
  /// `x` as it reads back after being stored as `element`.
  public static func round(_ x: Float, to element: ElementType) -> Float {
    switch element {
    case .f32: return x
    case .bf16: return Float(bitPattern: UInt32(bfloat16(x)) << 16)
    case .f16: return Float(Float16(x))
    case .i32: return x
    case .u8, .i8: return x
    }
  }

  /// The upper half of the float's bits, rounded to nearest even; NaN stays NaN.
  public static func bfloat16(_ x: Float) -> UInt16 {
    let bits = x.bitPattern
    if x.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
    return UInt16(truncatingIfNeeded: (bits + 0x7fff + ((bits >> 16) & 1)) >> 16)
  }

  /// All of `bytes`, unaligned and little-endian, as floats.
  public static func decode(_ bytes: UnsafeRawBufferPointer, _ element: ElementType) -> [Float] {
    let count = bytes.count / element.byteCount
    return [Float](unsafeUninitializedCapacity: count) { floats, filled in
      for i in 0..<count {
        switch element {
        case .f32: floats[i] = bytes.loadUnaligned(fromByteOffset: i * 4, as: Float.self)
        case .bf16:
          let bits = bytes.loadUnaligned(fromByteOffset: i * 2, as: UInt16.self)
          floats[i] = Float(bitPattern: UInt32(bits) << 16)
        case .f16:
          floats[i] = Float(Float16(bitPattern: bytes.loadUnaligned(fromByteOffset: i * 2, as: UInt16.self)))
        case .i32: floats[i] = Float(bytes.loadUnaligned(fromByteOffset: i * 4, as: Int32.self))
        case .u8: floats[i] = Float(bytes[i])
        case .i8: floats[i] = Float(Int8(bitPattern: bytes[i]))
        }
      }
      filled = count
    }
  }

  /// `floats` stored as `element`, little-endian.
  public static func encode(_ floats: [Float], _ element: ElementType) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: floats.count * element.byteCount)
    bytes.withUnsafeMutableBytes { bytes in
      for (i, x) in floats.enumerated() {
        switch element {
        case .f32: bytes.storeBytes(of: x, toByteOffset: i * 4, as: Float.self)
        case .bf16: bytes.storeBytes(of: bfloat16(x), toByteOffset: i * 2, as: UInt16.self)
        case .f16: bytes.storeBytes(of: Float16(x).bitPattern, toByteOffset: i * 2, as: UInt16.self)
        case .i32: bytes.storeBytes(of: Int32(x), toByteOffset: i * 4, as: Int32.self)
        case .u8: bytes[i] = UInt8(x)
        case .i8: bytes[i] = UInt8(bitPattern: Int8(x))
        }
      }
    }
    return bytes
  }
}
