import Base
import Diffusion
import TestSupport
import Testing

/// Which of the files in a folder are a component's weights.
struct CheckpointTests {
  private static let name = "diffusion_pytorch_model"
  private let folder: TemporaryFolder
  private let source = Parity.root + "/odd-tiny/unet"

  init() throws { folder = try TemporaryFolder() }

  /// Names of shards `part` and their index as they are met: what diffusers writes today, what it wrote before
  /// 0.31, the index's name in some repositories, and transformers'.
  static let namings: [(component: String, shard: String, index: String)] = [
    (name, "\(name)-part.safetensors", "\(name).safetensors.index.json"),
    (name, "\(name).fp16-part.safetensors", "\(name).safetensors.index.fp16.json"),
    (name, "\(name)-part.fp16.safetensors", "\(name).safetensors.index.fp16.json"),
    (name, "\(name).fp16-part.safetensors", "\(name).fp16.safetensors.index.json"),
    (name, "\(name).bf16-part.safetensors", "\(name).safetensors.index.bf16.json"),
    ("model", "model.fp16-part.safetensors", "model.safetensors.index.fp16.json"),
  ]

  /// Writes the shards of a UNet under other names. Returns their names.
  @discardableResult
  private func write(_ naming: (component: String, shard: String, index: String)) throws -> [String] {
    let index = try Config(path: "\(source)/\(Self.name).safetensors.index.json").object
    let files = (names(in: source) ?? []).filter { $0.hasSuffix(".safetensors") }
    #expect(files.count == 4)
    var text = JSON.object(index).text
    let renamed = files.map { file in
      let part = String(file.dropFirst(Self.name.count + 1).dropLast(".safetensors".count))
      return naming.shard.split(separator: "part", omittingEmptySubsequences: false).joined(separator: part)
    }
    for (file, other) in zip(files, renamed) {
      try folder.write(other, try readFile(source + "/" + file))
      text = text.split(separator: "\"\(file)\"", omittingEmptySubsequences: false)
        .joined(separator: "\"\(other)\"")
    }
    try folder.write(naming.index, text)
    return renamed
  }

  @Test(arguments: namings.indices)
  func shardsAreFoundUnderEveryName(number: Int) throws {
    let naming = Self.namings[number]
    try write(naming)
    let expected = try Checkpoint(folder: source, name: Self.name)
    let found = try Checkpoint(folder: folder.path, name: naming.component)
    #expect(found.path.hasSuffix("/" + naming.index))
    #expect(found.names.count > 100)
    #expect(found.names.sorted() == expected.names.sorted())
    for name in found.names { #expect(found[name] == expected[name]) }
  }

  /// As diffusers does where no variant is asked for.
  @Test func wholePrecisionCountsBeforeVariants() throws {
    let vae = try readFile(Parity.root + "/kl-odd/vae/\(Self.name).safetensors")
    try folder.write("\(Self.name).fp16.safetensors", "broken")
    #expect(throws: DiffusionError.self) { try Checkpoint(folder: folder.path, name: Self.name) }
    try folder.write("\(Self.name).safetensors", vae)
    let found = try Checkpoint(folder: folder.path, name: Self.name)
    #expect(found.path.hasSuffix("/\(Self.name).safetensors"))
    // Weights of the exponential moving average and such are nobody's default.
    folder.remove("\(Self.name).safetensors")
    folder.remove("\(Self.name).fp16.safetensors")
    try folder.write("\(Self.name).non_ema.safetensors", vae)
    #expect(throws: DiffusionError.self) { try Checkpoint(folder: folder.path, name: Self.name) }
  }

  /// A download of all JSON files and the fp16 weights has an index whose shards it lacks.
  @Test func indexWithoutShardsGivesWayToVariants() throws {
    for file in try write(Self.namings[0]) { folder.remove(file) }
    let lonely = #expect(throws: DiffusionError.self) { try Checkpoint(folder: folder.path, name: Self.name) }
    #expect(lonely?.kind == .noInput && lonely?.description.contains("-00001-of-00004") == true)
    let vae = try readFile(Parity.root + "/kl-odd/vae/\(Self.name).safetensors")
    try folder.write("\(Self.name).fp16.safetensors", vae)
    let found = try Checkpoint(folder: folder.path, name: Self.name)
    #expect(found.path.hasSuffix(".fp16.safetensors"))
  }

  /// With some of the shards it is a broken download, not another variant.
  @Test func missingShardIsNamed() throws {
    let files = try write(Self.namings[0])
    folder.remove(files[2])
    let error = #expect(throws: DiffusionError.self) { try Checkpoint(folder: folder.path, name: Self.name) }
    #expect(error?.kind == .noInput && error?.description.contains(files[2]) == true)
  }
}
