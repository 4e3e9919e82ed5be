import Frames

/// Turns what was asked for into an input.
public enum Source {
  /// Makes the input that `spec` names.
  ///
  /// Cameras and files are opened here, so that what cannot work is refused before work starts; addresses are
  /// called later and as often as needed. Throws `InputError`.
  public static func make(_ spec: InputSpec, options: SourceOptions) throws -> any Input {
    switch spec {
    case .firstCamera: return try Camera(.first, options)
    case .device(let path): return try Camera(.path(path), options)
    case .pattern: return try TestPattern(options: options)
    case .file(let path): return try Media(MediaPlace(file: path), options: options)
    case .address(let address): return try Media(MediaPlace(address: address), options: options)
    }
  }

  /// The same of a text: `/dev/videoN`, `camera`, `test`, an address, or a file's path.
  public static func make(_ text: String, options: SourceOptions) throws -> any Input {
    try make(InputSpec(text), options: options)
  }
}
