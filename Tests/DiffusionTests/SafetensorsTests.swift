import Diffusion
import Engine
import Glibc
import TestSupport
import Testing

/// Files that are not what they say: each is refused with what is wrong, none is read.
struct SafetensorsTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func file(_ header: String, data: Int = 0, length: UInt64? = nil) throws -> String {
    let text = Array(header.utf8)
    let count = length ?? UInt64(text.count)
    let prefix = (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * UInt64($0))) }
    return try folder.write(
      "a.safetensors", prefix + text + (0..<data).map { UInt8(truncatingIfNeeded: $0) })
  }

  private func refusal(_ path: String) -> DiffusionError? {
    do {
      _ = try SafetensorsFile(path: path)
      return nil
    } catch { return error as? DiffusionError }
  }

  @Test func readsWhatIsThere() throws {
    let path = try file(
      """
      {"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,1],"data_offsets":[8,12]},
       "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
       "none":{"dtype":"I64","shape":[0,5],"data_offsets":[12,12]}}
      """, data: 12)
    let file = try SafetensorsFile(path: path)
    #expect(file.tensors.map(\.name) == ["b", "a", "none"])
    let record = try #require(file["b"])
    #expect(record.type == TensorType([2, 1], .f16))
    #expect(file["none"]?.type == nil)
    try file.withBytes(of: record) { #expect(Array($0) == [8, 9, 10, 11]) }
  }

  /// What a download that starts again does to a program that is loading.
  @Test(arguments: [0, 8, 64, 75])
  func aFileThatIsCutAfterItWasOpenedIsNamed(_ count: Int) throws {
    let header = #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#
    let path = try file(header, data: 8)
    let whole = 8 + header.utf8.count + 8
    let file = try SafetensorsFile(path: path)
    let record = try #require(file["a"])
    try file.withBytes(of: record) { #expect($0.count == 8) }
    #expect(truncate(path, min(count, whole - 1)) == 0)
    let error = try #require(throws: DiffusionError.self) { try file.withBytes(of: record) { _ in } }
    #expect(error.kind == .io)
    #expect(error.description.contains(path))
    #expect(error.description.contains("cut while it was read"))
    #expect(error.description.contains("download it again"))
  }

  static let hostile: [(header: String, data: Int, fact: String)] = [
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4, "truncated"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9, "1 bytes after"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 8, "takes 4 bytes"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8, "data_offsets [8, 0]"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#, 8, "the number -8"),
    (#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8, "the number -2"),
    (#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,8]}}"#, 8, "the number 1.5"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}}"#, 8, "data_offsets"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9000000000000000]}}"#, 8, "truncated"),
    (#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0, "takes 0 bytes"),
    (
      #"{"a":{"dtype":"F16","shape":[0,4503599627370496,4503599627370496,1],"data_offsets":[0,0]}}"#, 0,
      "takes 0 bytes"
    ),
    (#"{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}"#, 4, "9 dimensions"),
    (#"{"a":{"dtype":"F7","shape":[1],"data_offsets":[0,4]}}"#, 4, "unknown dtype F7"),
    (#"{"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}}"#, 4, "no dtype"),
    (#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4, "no shape"),
    (#"{"a":{"dtype":"F32","shape":[1]}}"#, 4, "no data_offsets"),
    (#"{"a":{"dtype":"F32","shape":"big","data_offsets":[0,4]}}"#, 4, "no shape"),
    (#"{"a":[1,2]}"#, 0, "not an object"),
    (#"[]"#, 0, "an array of 0"),
    (#"{"a":{"dtype":"F32","#, 0, "not JSON"),
    (#""#, 0, "not JSON"),
    (
      #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#,
      6, "\"b\" overlaps tensor \"a\""
    ),
    (
      #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[6,8]}}"#,
      8, "gap"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
      8, "appears twice"
    ),
  ]

  @Test(arguments: hostile.indices)
  func hostileHeaderIsRefused(index: Int) throws {
    let (header, data, fact) = Self.hostile[index]
    let error = try #require(refusal(try file(header, data: data)), "accepted \(header)")
    #expect(error.kind == .data)
    #expect(error.description.contains(fact), "\(error)")
    #expect(error.description.contains(folder.path))
  }

  @Test(arguments: [UInt64(3), 100, 1 << 40, .max, .max - 7])
  func headerLongerThanTheFileIsRefused(length: UInt64) throws {
    let error = try #require(refusal(try file("{}", length: length)))
    #expect(error.kind == .data)
    #expect(error.description.contains("longer than the file"), "\(error)")
  }

  @Test func hugeHeaderIsRefusedUnread() throws {
    let zeros = [UInt8](repeating: 0x20, count: 40 << 20)
    let length = (0..<8).map { UInt8(truncatingIfNeeded: UInt64(zeros.count) >> (8 * UInt64($0))) }
    let error = try #require(refusal(try folder.write("a.safetensors", length + zeros)))
    #expect(error.description.contains("over the limit"), "\(error)")
  }

  @Test(arguments: 0..<8)
  func fileShorterThanALengthIsRefused(count: Int) throws {
    let error = try #require(refusal(try folder.write("a.safetensors", [UInt8](repeating: 0, count: count))))
    #expect(error.kind == .data)
  }

  @Test func missingFileAndFolderAreTold() throws {
    #expect(refusal(folder.path + "/none.safetensors")?.kind == .noInput)
    #expect(refusal(folder.path)?.kind == .data)
  }

  // MARK: Shards

  @Test func shardsAreReadThroughTheIndex() throws {
    let one = try file(#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, data: 2)
    try folder.write("m-1.safetensors", try readFile(one))
    let index = try folder.write(
      "m.safetensors.index.json", #"{"metadata":{},"weight_map":{"a":"m-1.safetensors"}}"#)
    #expect(try Checkpoint(path: index)["a"]?.shape == [2])
    #expect(try Checkpoint(folder: folder.path, name: "m")["a"]?.shape == [2])
  }

  @Test(arguments: [
    #"{"weight_map":{"a":"../a.safetensors"}}"#, #"{"weight_map":{"a":"/etc/passwd"}}"#,
    #"{"weight_map":{"a":7}}"#, #"{"weight_map":[]}"#, #"{}"#, #"{"weight_map":{"b":"a.safetensors"}}"#,
  ])
  func badIndexIsRefused(text: String) throws {
    _ = try file(#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, data: 2)
    let index = try folder.write("m.safetensors.index.json", text)
    #expect { try Checkpoint(path: index) } throws: { ($0 as? DiffusionError)?.kind == .data }
  }

  @Test func missingShardIsTold() throws {
    let index = try folder.write(
      "m.safetensors.index.json", #"{"weight_map":{"a":"gone.safetensors"}}"#)
    #expect { try Checkpoint(path: index) } throws: {
      ($0 as? DiffusionError)?.kind == .noInput && "\($0)".contains("gone.safetensors")
    }
  }
}
