import Glibc

/// Writes one safetensors file, tensor by tensor in the order that was announced.
/// https://github.com/huggingface/safetensors (README, "Format").
final class SafetensorsWriter {
  struct Tensor {
    var name: String
    var dtype: String
    var shape: [Int]
    var byteCount: Int

    init(name: String, dtype: String, shape: [Int], byteCount: Int) {
      (self.name, self.dtype, self.shape, self.byteCount) = (name, dtype, shape, byteCount)
    }

    /// As it is in another file.
    init(_ record: SafetensorsRecord) {
      self.init(name: record.name, dtype: record.dtype, shape: record.shape, byteCount: record.range.count)
    }
  }

  private let path: String
  private var file: UnsafeMutablePointer<FILE>?
  private var left: [Tensor]

  /// Makes the file and writes the header.
  init(path: String, _ tensors: [Tensor], metadata: KeyValuePairs<String, JSON>) throws {
    guard let file = fopen(path, "wbe") else { throw Self.failure(path, "open", .cannotCreate) }
    (self.path, self.file) = (path, file)
    left = tensors.reversed()
    var members = [JSONObject.Member(name: "__metadata__", value: .object(metadata))]
    var end = 0
    for tensor in tensors {
      let range: [JSON] = [.integer(end), .integer(end + tensor.byteCount)]
      members.append(
        JSONObject.Member(
          name: tensor.name,
          value: .object([
            "dtype": .string(tensor.dtype), "shape": .array(tensor.shape.map(JSON.integer)),
            "data_offsets": .array(range),
          ])))
      end += tensor.byteCount
    }
    var header = JSON.object(JSONObject(members)).bytes
    // Data begins at a multiple of eight.
    header += [UInt8](repeating: UInt8(ascii: " "), count: (8 - header.count % 8) % 8)
    try withUnsafeBytes(of: UInt64(header.count).littleEndian) { try put($0) }
    try header.withUnsafeBytes { try put($0) }
  }

  /// Writes all of a component's tensors, as a file of diffusers has them.
  static func write(_ checkpoint: Checkpoint, to path: String) throws {
    let records = checkpoint.names.sorted().compactMap { checkpoint[$0] }
    let writer = try SafetensorsWriter(
      path: path, records.map(Tensor.init), metadata: ["format": .string("pt")])
    for record in records {
      _ = try checkpoint.withBytes(of: record.name) { try writer.write(record.name, $0) }
    }
    try writer.finish()
  }

  /// The next tensor, whose name must be `name`.
  func write(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
    guard let tensor = left.popLast(), tensor.name == name, tensor.byteCount == bytes.count else {
      preconditionFailure("\(name) is not the tensor that was announced")
    }
    try put(bytes)
  }

  /// Flushes and closes.
  func finish() throws {
    precondition(left.isEmpty, "\(left.count) tensors were announced and not written")
    let closed = file.map { fclose($0) }
    file = nil
    guard closed == 0 else { throw Self.failure(path, "close") }
  }

  private func put(_ bytes: UnsafeRawBufferPointer) throws {
    guard let file, fwrite(bytes.baseAddress, 1, bytes.count, file) == bytes.count else {
      throw Self.failure(path, "write")
    }
  }

  private static func failure(_ path: String, _ call: String, _ kind: DiffusionError.Kind = .io)
    -> DiffusionError
  {
    DiffusionError(kind, path: path, "cannot be written (\(call): \(String(cString: strerror(errno))))")
  }

  deinit { if let file { fclose(file) } }
}
