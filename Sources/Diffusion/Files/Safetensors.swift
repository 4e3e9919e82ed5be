import Engine

/// One file in the safetensors format: 8 bytes of header length (little-endian), a JSON header, the data.
/// https://github.com/huggingface/safetensors (README, "Format").
///
/// Nothing in the header is believed: its length, every offset, shape and type is checked against the file
/// when it is opened, so a tensor that this type lists can be read.
public final class SafetensorsFile: @unchecked Sendable {
  public let path: String
  /// In the order of the header.
  public let tensors: [SafetensorsRecord]
  private let file: MappedFile
  private let dataStart: Int
  private let positions: [String: Int]

  /// The format's own limit is 100 MB; the largest models we know need less than one.
  static let headerLimit = 32 << 20

  /// Maps and checks the file. Errors: `.noInput`, `.io`, or `.data` with what is wrong in the header.
  public init(path: String) throws {
    self.path = path
    file = try MappedFile(path: path)
    let header: UnsafeRawBufferPointer
    do {
      header = try Self.header(of: file.bytes)
      dataStart = 8 + header.count
      tensors = try SafetensorsHeader.parse(header, dataCount: file.bytes.count - dataStart)
    } catch let error as SafetensorsHeader.Fault {
      throw DiffusionError(.data, path: path, error.fact, remedy: "Download the file again.")
    }
    // Names may differ in bytes and still be the same text to Swift; then the first counts.
    positions = Dictionary(
      tensors.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  public subscript(name: String) -> SafetensorsRecord? { positions[name].map { tensors[$0] } }

  /// The tensor's bytes, row-major and unaligned. `record` must be one of `tensors`.
  public func withBytes<R>(of record: SafetensorsRecord, _ body: (UnsafeRawBufferPointer) throws -> R)
    rethrows -> R
  {
    let range = dataStart + record.range.lowerBound..<dataStart + record.range.upperBound
    return try withExtendedLifetime(file) { try body(UnsafeRawBufferPointer(rebasing: file.bytes[range])) }
  }

  func drop(_ record: SafetensorsRecord) {
    file.drop(dataStart + record.range.lowerBound..<dataStart + record.range.upperBound)
  }

  private static func header(of bytes: UnsafeRawBufferPointer) throws -> UnsafeRawBufferPointer {
    guard bytes.count >= 8 else {
      throw SafetensorsHeader.Fault("\(bytes.count) bytes are too few for a safetensors file")
    }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length <= UInt64(bytes.count - 8) else {
      throw SafetensorsHeader.Fault("the header of \(length) bytes is longer than the file of \(bytes.count)")
    }
    guard length <= UInt64(headerLimit) else {
      throw SafetensorsHeader.Fault("the header of \(length) bytes is over the limit of \(headerLimit)")
    }
    return UnsafeRawBufferPointer(rebasing: bytes[8..<8 + Int(length)])
  }
}

/// A tensor as a safetensors header describes it.
public struct SafetensorsRecord: Sendable, Equatable {
  public let name: String
  /// The format's own name: F32, F16, BF16, I64, …
  public let dtype: String
  public let shape: [Int]
  /// Bytes, from the end of the header.
  public let range: Range<Int>

  /// Shape and element type, where the engine has that element type.
  public var type: TensorType? {
    switch dtype {
    case "F32": return TensorType(shape, .f32)
    case "F16": return TensorType(shape, .f16)
    case "BF16": return TensorType(shape, .bf16)
    case "I32": return TensorType(shape, .i32)
    case "U8": return TensorType(shape, .u8)
    default: return nil
    }
  }
}
