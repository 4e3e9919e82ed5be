import Diffusion
import Engine
import TestSupport

/// A tensor of a safetensors file that a test writes.
struct TestTensor {
  var name, dtype: String
  var shape: [Int]
  var bytes: [UInt8]

  static func ones(_ name: String, _ shape: [Int]) -> TestTensor {
    let ones = [Float](repeating: 1, count: shape.reduce(1, *))
    return TestTensor(name: name, dtype: "F32", shape: shape, bytes: ElementCodec.encode(ones, .f32))
  }

  /// Those of a file.
  static func all(of path: String) throws -> [TestTensor] {
    let file = try SafetensorsFile(path: path)
    return try file.tensors.map { record in
      TestTensor(
        name: record.name, dtype: record.dtype, shape: record.shape,
        bytes: try file.withBytes(of: record) { Array($0) })
    }
  }
}

extension TemporaryFolder {
  /// Writes a file in the safetensors format. Returns its path.
  func write(_ tensors: [TestTensor], to name: String = "a.safetensors", metadata: String = "{}") throws
    -> String
  {
    var (data, entries) = ([UInt8](), [#""__metadata__": \#(metadata)"#])
    for tensor in tensors {
      let range = [data.count, data.count + tensor.bytes.count]
      entries.append(
        #""\#(tensor.name)": {"dtype": "\#(tensor.dtype)", "shape": \#(tensor.shape), "data_offsets": \#(range)}"#
      )
      data += tensor.bytes
    }
    let header = Array("{\(entries.joined(separator: ","))}".utf8)
    let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
    return try write(name, length + header + data)
  }
}
