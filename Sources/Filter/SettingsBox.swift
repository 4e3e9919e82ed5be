import Diffusion
import Frames
import Synchronization

/// The settings in force. Whoever reads gets one whole value; whoever changes replaces it.
public final class SettingsBox: Sendable {
  /// A value and the number of changes that led to it.
  public struct Versioned: Sendable {
    public var settings: Settings
    public var generation: Int
  }
  private let box: Mutex<Versioned>

  public init(_ settings: Settings) { box = Mutex(Versioned(settings: settings, generation: 0)) }

  public var current: Versioned { box.withLock { $0 } }

  /// Puts back `settings`, unless somebody changed them since `generation`.
  public func revert(to settings: Settings, since generation: Int) {
    box.withLock {
      guard $0.generation == generation else { return }
      $0 = Versioned(settings: settings, generation: generation + 1)
    }
  }

  /// Changes what `json` (an object with any subset of the settings) names. One bad value refuses it all.
  @discardableResult
  public func patch(_ json: [UInt8]) throws -> Settings {
    let patch = try JSON.parse(json)
    return try box.withLock {
      let changed = try $0.settings.patched(by: patch)
      if changed != $0.settings { $0 = Versioned(settings: changed, generation: $0.generation + 1) }
      return changed
    }
  }
}

extension Settings {
  static let names = [
    "prompt", "strength", "steps", "seed", "size", "fit", "mirror", "steady", "still", "compare",
  ]

  /// These settings with the members of `patch` in place of their own.
  public func patched(by patch: JSON) throws(SettingsError) -> Settings {
    guard let members = patch.object?.members else {
      throw SettingsError("settings", "must be a JSON object")
    }
    var copy = self
    for member in members { try copy.set(member.name, member.value) }
    try copy.check()
    return copy
  }

  private mutating func set(_ name: String, _ value: JSON) throws(SettingsError) {
    switch (name, value) {
    case ("prompt", .string(let text)): prompt = text
    case ("strength", .number(let number)): strength = number
    case ("steps", .number(let number)): steps = try Self.whole(name, number)
    case ("seed", .number(let number)): seed = UInt64(try Self.whole(name, number))
    case ("size", .string(let text)): size = try PictureSize(text)
    case ("fit", .string(let text)) where Fit(rawValue: text) != nil: fit = Fit(rawValue: text) ?? fit
    case ("mirror", .bool(let flag)): mirror = flag
    case ("steady", .number(let number)): steady = number
    case ("still", .number(let number)): still = number
    case ("compare", .bool(let flag)): compare = flag
    case _ where Self.names.contains(name):
      throw SettingsError(name, "cannot be \(value.text)")
    default:
      throw SettingsError(name, "is no setting; there are \(Self.names.joined(separator: ", "))")
    }
  }

  private static func whole(_ name: String, _ number: Double) throws(SettingsError) -> Int {
    guard let whole = Int(exactly: number), whole >= 0 else {
      throw SettingsError(name, "must be a whole number of at least 0, not \(number)")
    }
    return whole
  }

  /// As `patch` takes them.
  public var json: JSON {
    .object([
      "prompt": .string(prompt), "strength": .number(strength), "steps": .integer(steps),
      "seed": .integer(Int(seed)), "size": .string(size.description),
      "fit": .string(fit.rawValue), "mirror": .bool(mirror),
      "steady": .number(steady), "still": .number(still), "compare": .bool(compare),
    ])
  }
}
