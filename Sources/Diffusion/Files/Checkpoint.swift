import Engine

/// The weights of one component (a folder such as `unet/`): one safetensors file, shards with an index, or
/// its part of a file that has all components.
public final class Checkpoint: @unchecked Sendable {
  /// A tensor of a file under another name or in another shape, or some of its rows.
  struct Part {
    var record: SafetensorsRecord
    /// The file has the columns of this matrix as rows.
    var isTransposed: Bool
  }

  /// The file or index that was chosen, for messages.
  public let path: String
  private let files: [SafetensorsFile]
  private let places: [String: (file: Int, record: SafetensorsRecord)]
  /// What is drawn instead of read.
  private let generated: GeneratedTensors?
  private let transposed: Set<String>
  /// Whether its file has more than its tensors, or has them under other names.
  let isPart: Bool

  /// Looks in `folder` for `<name>.safetensors`, then the sharded `<name>.safetensors.index.json`, then the
  /// same of the variants that diffusers writes (fp16, bf16, fp32), then for `weights.json`
  /// (`GeneratedTensors`). An index counts if one of its shards is there: who downloads the fp16 files often
  /// has the other index, but not what it lists.
  public convenience init(folder: String, name: String) throws {
    let found = Self.candidates(name).map { folder + "/" + $0 }.filter(FileSystem.isFile)
    for path in found where !path.hasSuffix(".json") || Self.hasShards(index: path) {
      try self.init(path: path)
      return
    }
    // An index alone: what it lists is missing, or it is broken.
    if let index = found.first {
      try self.init(path: index)
      return
    }
    let rule = folder + "/" + GeneratedTensors.fileName
    if FileSystem.isFile(rule) {
      self.init(path: rule, generated: try GeneratedTensors(path: rule))
      return
    }
    throw DiffusionError(
      .noInput, path: folder,
      "has no weights: neither \(name).safetensors nor \(name).safetensors.index.json",
      remedy: "Download the folder's safetensors files; pickled .bin files are not read.")
  }

  /// Opens a safetensors file, or the shards that an index.json lists.
  public init(path: String) throws {
    self.path = path
    generated = nil
    (transposed, isPart) = ([], false)
    if path.hasSuffix(".json") {
      (files, places) = try Self.shards(index: path)
    } else {
      let file = try SafetensorsFile(path: path)
      files = [file]
      places = Dictionary(file.tensors.map { ($0.name, (0, $0)) }, uniquingKeysWith: { first, _ in first })
    }
  }

  private init(path: String, generated: GeneratedTensors) {
    self.path = path
    self.generated = generated
    files = []
    (transposed, isPart) = ([], false)
    places = generated.records.mapValues { (0, $0) }
  }

  /// `parts` lie in `file`.
  init(_ file: SafetensorsFile, _ parts: [Part]) {
    path = file.path
    generated = nil
    files = [file]
    (transposed, isPart) = (Set(parts.filter(\.isTransposed).map(\.record.name)), true)
    places = Dictionary(
      parts.map { ($0.record.name, (0, $0.record)) }, uniquingKeysWith: { first, _ in first })
  }

  public var names: [String] { Array(places.keys) }

  /// All files that it is made of.
  var paths: [String] { [path] + files.map(\.path).filter { $0 != path } }

  /// Of the first file.
  var metadata: [String: String] { files.first?.metadata ?? [:] }

  public subscript(name: String) -> SafetensorsRecord? { places[name]?.record }

  func withBytes<R>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R? {
    if let generated { return try generated.withBytes(of: name, body) }
    guard let place = places[name] else { return nil }
    return try files[place.file].withBytes(of: place.record) { bytes in
      guard transposed.contains(name) else { return try body(bytes) }
      return try Self.transpose(bytes, place.record.shape).withUnsafeBytes(body)
    }
  }

  /// False where there is no such tensor.
  func withPieces(of name: String, _ body: (Int, UnsafeRawBufferPointer) throws -> Void) throws -> Bool {
    if let generated { return try generated.withPieces(of: name, body) }
    guard let place = places[name] else { return false }
    if transposed.contains(name) {
      _ = try withBytes(of: name) { try body(0, $0) }
    } else {
      try files[place.file].withPieces(of: place.record, body)
    }
    return true
  }

  /// A matrix of `shape` from its columns.
  private static func transpose(_ columns: UnsafeRawBufferPointer, _ shape: [Int]) -> [UInt8] {
    let (rows, count) = (shape[0], shape[1])
    let size = columns.count / max(1, rows * count)
    return [UInt8](unsafeUninitializedCapacity: columns.count) { bytes, filled in
      for row in 0..<rows {
        for column in 0..<count {
          let (from, to) = ((column * rows + row) * size, (row * count + column) * size)
          for byte in 0..<size { bytes[to + byte] = columns[from + byte] }
        }
      }
      filled = columns.count
    }
  }

  private static func candidates(_ name: String) -> [String] {
    let whole = ["\(name).safetensors", "\(name).safetensors.index.json"]
    return whole
      + ["fp16", "bf16", "fp32"].flatMap { variant in
        [
          "\(name).\(variant).safetensors",
          "\(name).safetensors.index.\(variant).json",
          "\(name).\(variant).safetensors.index.json",
        ]
      }
  }

  // MARK: Shards

  private static func hasShards(index path: String) -> Bool {
    guard let members = (try? Config(path: path))?.object["weight_map"]?.object?.members else { return false }
    let folder = Self.folder(of: path)
    let files = Set(members.compactMap { try? fileName($0, path) })
    return files.contains { FileSystem.isFile(folder + "/" + $0) }
  }

  private static func folder(of path: String) -> String {
    path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
  }

  private typealias Places = [String: (file: Int, record: SafetensorsRecord)]

  private static func shards(index path: String) throws -> ([SafetensorsFile], Places) {
    let config = try Config(path: path)
    guard let members = config.object["weight_map"]?.object?.members else {
      throw DiffusionError(.data, path: path, "has no object weight_map")
    }
    let folder = Self.folder(of: path)
    var files: [SafetensorsFile] = []
    var numbers: [String: Int] = [:]
    var places: Places = [:]
    for member in members {
      let file = try fileName(member, path)
      if numbers[file] == nil {
        numbers[file] = files.count
        files.append(try SafetensorsFile(path: folder + "/" + file))
      }
      let number = numbers[file] ?? 0
      guard let record = files[number][member.name] else {
        throw DiffusionError(
          .data, path: path, "puts tensor \"\(member.name.prefix(200))\" in \(file), which does not have it")
      }
      places[member.name] = (number, record)
    }
    return (files, places)
  }

  /// The name of a shard: a file beside the index, never a path.
  private static func fileName(_ member: JSONObject.Member, _ path: String) throws -> String {
    guard let name = member.value.string, !name.isEmpty, !name.contains("/"), name.hasSuffix(".safetensors"),
      !name.utf8.contains(0)
    else {
      throw DiffusionError(
        .data, path: path, "weight_map names \(member.value.kind) for \"\(member.name.prefix(200))\"")
    }
    return name
  }
}

/// The weights of all of a model's components, under names such as `unet/conv_in.weight`.
public final class ModelWeights: WeightSource {
  private let components: [String: Checkpoint]

  public init(_ components: [String: Checkpoint]) { self.components = components }

  public subscript(component: String) -> Checkpoint? { components[component] }

  public func type(of name: String) -> TensorType? {
    find(name).flatMap { $0.checkpoint[$0.tensor]?.type }
  }

  public func withBytes<R>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    guard let place = find(name), let result = try place.checkpoint.withBytes(of: place.tensor, body) else {
      throw EngineError.missingWeight(name)
    }
    return result
  }

  public func withPieces(of name: String, _ body: (Int, UnsafeRawBufferPointer) throws -> Void) throws {
    guard let place = find(name), try place.checkpoint.withPieces(of: place.tensor, body) else {
      throw EngineError.missingWeight(name)
    }
  }

  private func find(_ name: String) -> (checkpoint: Checkpoint, tensor: String)? {
    guard let slash = name.firstIndex(of: "/"), let checkpoint = components[String(name[..<slash])] else {
      return nil
    }
    return (checkpoint, String(name[name.index(after: slash)...]))
  }
}
