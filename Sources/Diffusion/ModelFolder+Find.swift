import Base

/// Where models are looked for by name.
extension ModelFolder {
  /// The name of an embedded model (`spark`); a folder's path; that of a safetensors file with all of a model's weights;
  /// or the name of a repository whose snapshot is in the local Hugging Face cache (`stabilityai/sdxl-turbo`). Looks for
  /// them in this order, so a folder that has an embedded model's name is `./spark`; loads nothing from the network.
  /// `autoencoder`: another one in the place of the model's own; `loras` change its weights. `environment` gives TURBOCAM_MODELS, HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE,
  /// HF_HOME, XDG_CACHE_HOME and HOME.
  public static func find(
    _ nameOrPath: String, autoencoder: String? = nil, loras: [LoRA.Choice] = [],
    environment: (String) -> String? = FileSystem.environment
  ) throws -> ModelFolder {
    try checkName(nameOrPath)
    let autoencoder = try autoencoder.map { try findAutoencoder($0, environment) }
    func model(in places: [String]) throws -> ModelFolder? {
      let place = places.first { FileSystem.isFile($0 + "/model_index.json") }
      return try place.map {
        try ModelFolder(path: $0, name: nameOrPath, autoencoder: autoencoder, loras: loras)
      }
    }
    let embedded = embeddedPlaces(nameOrPath, environment)
    if let found = try model(in: embedded) { return found }
    if FileSystem.isFolder(nameOrPath) {
      return try ModelFolder(path: nameOrPath, autoencoder: autoencoder, loras: loras)
    }
    if FileSystem.isFile(nameOrPath), nameOrPath.hasSuffix(".safetensors") {
      let file = try SingleFile(path: nameOrPath)
      return try ModelFolder(file, configuration(file.kind), autoencoder, loras)
    }
    let cached = cachedPlaces(nameOrPath, environment)
    if let found = try model(in: cached) { return found }
    let nearest = nearest(nameOrPath, environment).map { "Did you mean \($0)?\n" } ?? ""
    throw absence("model", nameOrPath, embedded + cached, nearest + remedy(nameOrPath))
  }

  /// The folder of an autoencoder, by its path or the name of a repository in the local Hugging Face cache: one that is
  /// by itself (`madebyollin/taesdxl`), or that of a whole pipeline.
  private static func findAutoencoder(_ nameOrPath: String, _ environment: (String) -> String?) throws
    -> String
  {
    try checkName(nameOrPath)
    let cached = cachedPlaces(nameOrPath, environment)
    for place in [nameOrPath] + cached {
      let isPipeline = FileSystem.isFile(place + "/model_index.json")
      let folder = isPipeline ? place + "/vae" : place
      if FileSystem.isFile(folder + "/config.json") { return folder }
    }
    let repository = repository(nameOrPath) ?? "madebyollin/taesdxl"
    throw absence(
      "autoencoder", nameOrPath, cached,
      "Download one with\n  hf download \(repository) config.json diffusion_pytorch_model.safetensors")
  }

  private static func checkName(_ nameOrPath: String) throws {
    guard !nameOrPath.isEmpty, !nameOrPath.utf8.contains(0) else {
      throw DiffusionError(.usage, "a model's name is empty")
    }
  }

  /// Nothing of that name is in `places`, nor at the path that it may be.
  private static func absence(_ what: String, _ nameOrPath: String, _ places: [String], _ remedy: String)
    -> DiffusionError
  {
    if FileSystem.isFile(nameOrPath) {
      let forms =
        what == "model"
        ? "folders in the diffusers layout or .safetensors files" : "folders with a config.json"
      return DiffusionError(
        .noInput, path: nameOrPath, "is a file, and \(what)s are \(forms)",
        remedy: remedy
          + "\nor convert the file: diffusers' from_single_file reads it, save_pretrained writes a folder.")
    }
    let places = ([nameOrPath] + places).joined(separator: "\n  ")
    return DiffusionError(
      .noInput, "there is no \(what) \(nameOrPath); looked in\n  \(places)", remedy: remedy)
  }

  // MARK: Single files

  /// The folder with configurations and tokenizers of a single file's kind, which comes with the program.
  private static func configuration(_ kind: SingleFile.Kind) throws -> String {
    let places = FileSystem.shared.map { "\($0)/sizes/\(kind.configuration)" }
    guard let found = places.first(where: { FileSystem.isFile($0 + "/model_index.json") }) else {
      throw DiffusionError(
        .noInput,
        "the configuration that comes with the program is missing; looked in\n  "
          + places.joined(separator: "\n  "), remedy: "Install turbocam again.")
    }
    return found
  }

  // MARK: Embedded models

  private static func embeddedPlaces(_ name: String, _ environment: (String) -> String?) -> [String] {
    isPlainName(name) ? roots(environment).map { "\($0)/\(name)" } : []
  }

  /// What an embedded model lists; the model is not opened.
  public static func styles(
    ofEmbedded name: String, environment: (String) -> String? = FileSystem.environment
  ) -> Styles? {
    let place = embeddedPlaces(name, environment).first { FileSystem.isFile($0 + "/model_index.json") }
    return place.flatMap { try? Styles(folder: $0) }
  }

  private static func roots(_ environment: (String) -> String?) -> [String] {
    [environment("TURBOCAM_MODELS")].compactMap(\.self) + FileSystem.shared.map { $0 + "/models" }
  }

  /// The embedded model whose name looks most like this one, where one does.
  private static func nearest(_ name: String, _ environment: (String) -> String?) -> String? {
    guard isPlainName(name) else { return nil }
    let known = roots(environment).flatMap { Base.names(in: $0) ?? [] }.map {
      (name: $0, distance: editDistance(name.lowercased(), $0.lowercased()))
    }
    return known.filter { $0.distance <= 2 && $0.distance < $0.name.count }.min { $0.distance < $1.distance }?
      .name
  }

  // MARK: Hugging Face cache

  /// The snapshot of a repository's main branch.
  /// https://huggingface.co/docs/huggingface_hub/guides/manage-cache
  private static func cachedPlaces(_ name: String, _ environment: (String) -> String?) -> [String] {
    guard let name = repository(name), let hub = hubFolder(environment) else { return [] }
    let place = "\(hub)/models--" + name.replacing("/", with: "--")
    guard let bytes = try? FileSystem.read(place + "/refs/main", limit: 256) else {
      return ["\(place)/snapshots/main"]
    }
    let commit = String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
    return isPlainName(commit) ? ["\(place)/snapshots/\(commit)"] : []
  }

  private static func hubFolder(_ environment: (String) -> String?) -> String? {
    /// Where no shell has done so, huggingface_hub puts the home folder for its sign.
    func folder(_ name: String) -> String? {
      guard let path = environment(name), path.hasPrefix("~/"), let home = environment("HOME") else {
        return environment(name)
      }
      return home + path.dropFirst()
    }
    if let hub = folder("HF_HUB_CACHE") ?? folder("HUGGINGFACE_HUB_CACHE") { return hub }
    if let home = folder("HF_HOME") { return home + "/hub" }
    if let cache = folder("XDG_CACHE_HOME") { return cache + "/huggingface/hub" }
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

  /// The name where it may be a repository's on the Hugging Face hub.
  private static func repository(_ name: String) -> String? {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    return parts.count == 2 && !name.hasPrefix(".") && parts.allSatisfy(isPlainName) ? name : nil
  }

  /// Patterns without an option before them: `--include` takes one in some versions and several in others.
  private static func remedy(_ name: String) -> String {
    let isRepository = repository(name) != nil && !FileSystem.isFile(name)
    let lead =
      isRepository ? "Download it with" : "Give a folder in the diffusers layout, or download a model with"
    let repository = isRepository ? name : "stabilityai/sdxl-turbo"
    return "\(lead)\n  hf download \(repository) \"*.json\" \"*.txt\" \"*/*.fp16.safetensors\""
  }
}
