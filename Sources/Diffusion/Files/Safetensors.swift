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
  /// What whoever wrote the file says of it.
  let metadata: [String: String]
  private let file: ModelFile
  private let dataStart: Int
  private let positions: [String: Int]

  /// The format's own limit is 100 MB; the largest models we know need less than one.
  static let headerLimit = 32 << 20

  /// Opens and checks the file. Errors: `.noInput`, `.io`, or `.data` with what is wrong in the header.
  public init(path: String) throws {
    self.path = path
    file = try ModelFile(path: path)
    do {
      let header = try Self.headerRange(of: file)
      dataStart = header.upperBound
      let dataCount = file.count - header.upperBound
      (tensors, metadata) = try file.withBytes(header) {
        try SafetensorsHeader.parse($0, dataCount: dataCount)
      }
    } catch let error as SafetensorsHeader.Fault {
      throw DiffusionError(.data, path: path, error.fact, remedy: "Download the file again.")
    }
    // Names may differ in bytes and still be the same text to Swift; then the first counts.
    positions = Dictionary(
      tensors.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  public subscript(name: String) -> SafetensorsRecord? { positions[name].map { tensors[$0] } }

  /// Reads the tensor's bytes, row-major. `record` must be one of `tensors`. Throws `.io` where the file has
  /// become shorter than its header says.
  public func withBytes<R>(of record: SafetensorsRecord, _ body: (UnsafeRawBufferPointer) throws -> R)
    throws -> R
  {
    try file.withBytes(dataStart + record.range.lowerBound..<dataStart + record.range.upperBound, body)
  }

  /// The same in pieces, with the place of each in the tensor.
  public func withPieces(
    of record: SafetensorsRecord, _ body: (Int, UnsafeRawBufferPointer) throws -> Void
  ) throws {
    try file.withPieces(dataStart + record.range.lowerBound..<dataStart + record.range.upperBound, body)
  }

  private static func headerRange(of file: ModelFile) throws -> Range<Int> {
    guard file.count >= 8 else {
      throw SafetensorsHeader.Fault("\(file.count) bytes are too few for a safetensors file")
    }
    let length = try file.withBytes(0..<8) { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
    guard length <= UInt64(file.count - 8) else {
      throw SafetensorsHeader.Fault("the header of \(length) bytes is longer than the file of \(file.count)")
    }
    guard length <= UInt64(headerLimit) else {
      throw SafetensorsHeader.Fault("the header of \(length) bytes is over the limit of \(headerLimit)")
    }
    return 8..<8 + Int(length)
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

  /// Types that weights of products may have.
  static let floatTypes = ["F32", "F16", "BF16"]
  var isFloat: Bool { Self.floatTypes.contains(dtype) }

  /// Shape and element type, where the engine has that element type.
  public var type: TensorType? {
    switch dtype {
    case "F32": return TensorType(shape, .f32)
    case "F16": return TensorType(shape, .f16)
    case "BF16": return TensorType(shape, .bf16)
    case "I32": return TensorType(shape, .i32)
    case "U8": return TensorType(shape, .u8)
    case "I8": return TensorType(shape, .i8)
    default: return nil
    }
  }
}
