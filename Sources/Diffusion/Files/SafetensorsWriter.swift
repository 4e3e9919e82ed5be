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

  private let file: NewFile
  private var left: [Tensor]

  /// Makes the file and writes the header.
  init(path: String, _ tensors: [Tensor], metadata: KeyValuePairs<String, JSON>) throws {
    file = try NewFile(path: path)
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
    try withUnsafeBytes(of: UInt64(header.count).littleEndian) { try file.write($0) }
    try header.withUnsafeBytes { try file.write($0) }
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
    try file.write(bytes)
  }

  /// Flushes and closes.
  func finish() throws {
    precondition(left.isEmpty, "\(left.count) tensors were announced and not written")
    try file.close()
  }
}
