import Glibc

/// How the fastest way of computing a product is found.
public enum Tuning: Sendable, Equatable {
  /// A model of waves and tiles decides.
  case off
  /// Several are measured at a product's first use on a GPU, and the fastest is kept on disk.
  case measured
  /// cuBLASLt computes whatever it can: for comparisons.
  case library
  /// As `measured`, with the kernels for Hopper's warpgroups among what is measured. No card has run those
  /// yet.
  case measuredWithWarpgroups
  /// Hopper's warpgroups compute whatever they can, in the tile of this index in `Tile.warpgroups`, and a
  /// model decides the rest: for comparisons.
  case warpgroups(Int)

  /// As TURBOCAM_TUNING says: 0, 1, cublaslt, warpgroups (measured with them) or warpgroups:0 and so on;
  /// measured where it says nothing.
  public static var standard: Tuning {
    let word = getenv("TURBOCAM_TUNING").map { String(cString: $0) } ?? ""
    switch word {
    case "0": return .off
    case "cublaslt": return .library
    case "warpgroups": return .measuredWithWarpgroups
    default:
      let parts = word.split(separator: ":")
      guard parts.count == 2, parts[0] == "warpgroups", let tile = Int(parts[1]), tile >= 0 else {
        return .measured
      }
      return .warpgroups(tile)
    }
  }

  /// Whether a tuner decides, and not our own model.
  var usesTuner: Bool {
    switch self {
    case .measured, .measuredWithWarpgroups, .library: return true
    case .off, .warpgroups: return false
    }
  }

  var takesWarpgroups: Bool {
    switch self {
    case .measuredWithWarpgroups, .warpgroups: return true
    case .off, .measured, .library: return false
    }
  }
}
