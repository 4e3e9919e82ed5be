import Glibc

/// Where models are looked for by name.
extension ModelFolder {
  /// The name of an embedded model (`spark`); a folder's path; or the name of a repository whose snapshot is
  /// in the local Hugging Face cache (`stabilityai/sdxl-turbo`). Looks for them in this order, so a folder that has an
  /// embedded model's name is `./spark`; loads nothing from the network. `environment` gives TURBOCAM_MODELS, HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME.
  public static func find(
    _ nameOrPath: String, environment: (String) -> String? = FileSystem.environment
  ) throws -> ModelFolder {
    guard !nameOrPath.isEmpty, !nameOrPath.utf8.contains(0) else {
      throw DiffusionError(.usage, "a model's name is empty")
    }
    func model(in places: [String]) throws -> ModelFolder? {
      let place = places.first { FileSystem.isFile($0 + "/model_index.json") }
      return try place.map { try ModelFolder(path: $0, name: nameOrPath) }
    }
    let embedded = embeddedPlaces(nameOrPath, environment)
    if let found = try model(in: embedded) { return found }
    if FileSystem.isFolder(nameOrPath) { return try ModelFolder(path: nameOrPath) }
    let cached = cachedPlaces(nameOrPath, environment)
    if let found = try model(in: cached) { return found }
    let places = ([nameOrPath] + embedded + cached).joined(separator: "\n  ")
    throw DiffusionError(
      .noInput, "there is no model \(nameOrPath); looked in\n  \(places)", remedy: remedy(nameOrPath))
  }

  // MARK: Embedded models

  private static func embeddedPlaces(_ name: String, _ environment: (String) -> String?) -> [String] {
    guard isPlainName(name) else { return [] }
    var roots: [String] = []
    if let variable = environment("TURBOCAM_MODELS") { roots.append(variable) }
    if let folder = executableFolder() {
      roots.append(folder + "/../share/turbocam/models")
      // A build in the source tree: .build/<triple>/release/turbocam.
      var above = folder
      for _ in 0..<5 {
        above += "/.."
        if FileSystem.isFile(above + "/Package.swift") { roots.append(above + "/Fixtures/models") }
      }
    }
    return roots.map { "\($0)/\(name)" }
  }

  private static func executableFolder() -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    guard count > 0, count < buffer.count else { return nil }
    let path = String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
    return path.lastIndex(of: "/").map { String(path[..<$0]) }
  }

  // MARK: Hugging Face cache

  /// The snapshot of a repository's main branch.
  /// https://huggingface.co/docs/huggingface_hub/guides/manage-cache
  private static func cachedPlaces(_ name: String, _ environment: (String) -> String?) -> [String] {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, parts.allSatisfy(isPlainName), let hub = hubFolder(environment) else { return [] }
    let repository = "\(hub)/models--\(parts[0])--\(parts[1])"
    guard let bytes = try? FileSystem.read(repository + "/refs/main", limit: 256) else {
      return ["\(repository)/snapshots/main"]
    }
    let commit = String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
    return isPlainName(commit) ? ["\(repository)/snapshots/\(commit)"] : []
  }

  private static func hubFolder(_ environment: (String) -> String?) -> String? {
    if let hub = environment("HF_HUB_CACHE") { return hub }
    if let home = environment("HF_HOME") { return home + "/hub" }
    if let cache = environment("XDG_CACHE_HOME") { return cache + "/huggingface/hub" }
    return environment("HOME").map { $0 + "/.cache/huggingface/hub" }
  }

  /// One part of a path, of the characters that names of models have.
  private static func isPlainName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".."
      && name.utf8.allSatisfy { byte in
        let character = Character(Unicode.Scalar(byte))
        return byte < 0x80 && (character.isLetter || character.isNumber || "-_.".contains(character))
      }
  }

  private static func remedy(_ name: String) -> String {
    let isRepository = name.split(separator: "/", omittingEmptySubsequences: false).count == 2
    let repository = isRepository && !name.hasPrefix(".") ? name : "stabilityai/sdxl-turbo"
    let lead =
      isRepository ? "Download it with" : "Give a folder in the diffusers layout, or download a model with"
    return "\(lead)\n  hf download \(repository) --include \"*.json\" \"*.txt\" \"*/*.fp16.safetensors\""
  }
}
