import Base
import Engine

/// Tensors that no file holds: numbers drawn by counting, the same wherever they are made. They stand in for
/// the weights of a model of full size where only its time, its memory or its rounding counts: gigabytes are
/// neither stored nor carried.
///
/// `weights.json` in place of a component's safetensors file:
///
///     {"generator": "splitmix64", "seed": 4, "dtype": "F16", "tensors": {"conv_in.weight": [320, 4, 3, 3], …}}
///
/// Element i of a tensor is drawn from the counter FNV-1a(name) + seed·2⁶⁴/φ + i by SplitMix64 (Steele, Lea
/// and Flood 2014): the upper 24 bits k of its output give u = k/2²³ − 1 in [−1, 1). Vectors named `….weight`
/// are gains, 1 + u/10; other vectors are u/10; all other tensors u·√(3/n), of variance 1/n, where n is the
/// product of all dimensions but the first. Computed in f32, then rounded to the type.
struct GeneratedTensors {
  let records: [String: SafetensorsRecord]
  private let seed: UInt64

  static let fileName = "weights.json"
  /// More elements than any model has in one tensor.
  private static let mostElements = 1 << 34
  /// Elements of a piece.
  private static let pieceCount = 1 << 22
  /// Elements that are worth a thread.
  private static let shareCount = 1 << 16
  private static let golden: UInt64 = 0x9e37_79b9_7f4a_7c15

  /// Errors: `.configuration` or `.data` with the key.
  init(path: String) throws {
    let config = try Config(path: path)
    guard try config.string("generator") == "splitmix64" else {
      throw config.invalid("generator", "should be splitmix64")
    }
    seed = UInt64(try config.int("seed", 0, in: 0...Int(Int32.max)))
    let dtype = try config.string("dtype")
    let sample = SafetensorsRecord(name: "", dtype: dtype, shape: [], range: 0..<0)
    guard sample.isFloat, let type = sample.type else {
      throw config.invalid("dtype", "should be F32, F16 or BF16")
    }
    guard let members = config.object["tensors"]?.object?.members else {
      throw config.invalid("tensors", "should be an object of names and shapes")
    }
    var records: [String: SafetensorsRecord] = [:]
    for member in members {
      guard let shape = Self.shape(member.value) else {
        throw config.invalid("tensors", "has no shape for \"\(member.name.prefix(200))\"")
      }
      let byteCount = shape.reduce(type.element.byteCount, *)
      records[member.name] = SafetensorsRecord(
        name: member.name, dtype: dtype, shape: shape, range: 0..<byteCount)
    }
    self.records = records
  }

  private static func shape(_ value: JSON) -> [Int]? {
    guard let array = value.array, array.count <= 8 else { return nil }
    var (shape, count): ([Int], Int) = ([], 1)
    for entry in array {
      guard let size = entry.int, size > 0, size <= mostElements / count else { return nil }
      shape.append(size)
      count *= size
    }
    return shape
  }

  /// Draws a tensor and lends its bytes; nil where there is none of that name.
  func withBytes<R>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R? {
    guard let record = records[name], let type = record.type else { return nil }
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, type.byteCount), alignment: 64)
    defer { bytes.deallocate() }
    draw(record, type, 0..<type.count, into: bytes)
    return try body(UnsafeRawBufferPointer(rebasing: bytes[..<type.byteCount]))
  }

  /// The same piece by piece: its place, and its bytes.
  func withPieces(of name: String, _ body: (Int, UnsafeRawBufferPointer) throws -> Void) rethrows -> Bool {
    guard let record = records[name], let type = record.type else { return false }
    let size = type.element.byteCount
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.pieceCount * size, alignment: 64)
    defer { bytes.deallocate() }
    for first in stride(from: 0, to: type.count, by: Self.pieceCount) {
      let count = min(Self.pieceCount, type.count - first)
      draw(record, type, first..<first + count, into: bytes)
      try body(first * size, UnsafeRawBufferPointer(rebasing: bytes[..<(count * size)]))
    }
    return true
  }

  /// By all processors: a model of full size has billions.
  private func draw(
    _ record: SafetensorsRecord, _ type: TensorType, _ range: Range<Int>,
    into bytes: UnsafeMutableRawBufferPointer
  ) {
    let (offset, scale) = Self.range(record)
    let start = Self.hash(record.name) &+ seed &* Self.golden &+ UInt64(range.lowerBound)
    // Each thread writes its own share.
    nonisolated(unsafe) let bytes = bytes
    let element = type.element
    inParallel(range.count, atLeast: Self.shareCount) { share in
      func store<T>(_ convert: (Float) -> T) {
        for index in share {
          let value = offset + scale * Self.uniform(start &+ UInt64(index))
          bytes.storeBytes(of: convert(value), toByteOffset: MemoryLayout<T>.size * index, as: T.self)
        }
      }
      switch element {
      case .f16: store { Float16($0).bitPattern }
      case .bf16: store { ElementCodec.bfloat16($0) }
      default: store { $0 }
      }
    }
  }

  private static func range(_ record: SafetensorsRecord) -> (offset: Float, scale: Float) {
    guard record.shape.count < 2 else {
      let inputs = record.shape.dropFirst().reduce(1, *)
      return (0, Float((3 / Double(inputs)).squareRoot()))
    }
    return (record.name.hasSuffix(".weight") ? 1 : 0, 0.1)
  }

  private static func hash(_ name: String) -> UInt64 {
    var hash = FNV()
    hash.add(name.utf8)
    return hash.value
  }

  private static func uniform(_ counter: UInt64) -> Float {
    var z = (counter &+ 1) &* golden
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    z ^= z >> 31
    return Float(z >> 40) * 0x1p-23 - 1
  }
}
