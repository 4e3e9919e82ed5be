import CUDABackend
import Diffusion
import Filter

extension CUDASystem.GPU {
  /// One line, beginning with what `--device` takes.
  var text: String {
    let facts =
      "cuda:\(device.ordinal)  \(device.name), \(megabytes) MB, compute capability \(device.capabilityText)"
    return obstacle.map { "\(facts); not usable: \($0)" } ?? facts
  }

  var json: JSON {
    .object([
      "name": .string(device.name), "driver": .string("nvidia"), "device": .string("cuda:\(device.ordinal)"),
      "memory_mb": .integer(megabytes), "capability": .string(device.capabilityText),
      "multiprocessors": .integer(device.multiprocessors), "uuid": .string(device.uuid),
      "problem": obstacle.map { .string("\($0)") } ?? .null,
    ])
  }

  private var megabytes: Int { device.memory / 1_000_000 }
}

extension CUDASystem {
  /// A library: what it is called in JSON and by people, and whether it is there.
  struct Part {
    var key: String
    var name: String
    var found: Result<Library, CUDAError>
    /// What its version is of.
    var versionOf = ""

    var text: String {
      switch found {
      case .success(let library): return fact(library)
      case .failure(let error): return "\(error)"
      }
    }

    func fact(_ library: Library) -> String {
      let last = library.architectures.max().map { ", compiles up to sm_\($0)" } ?? ""
      return "\(versionOf)\(library.versionText)\(last), \(library.path)"
    }

    var json: JSON {
      switch found {
      case .success(let library):
        let rest = [
          JSONObject.Member(name: "path", value: .string(library.path)),
          JSONObject.Member(name: "version", value: .string(library.versionText)),
        ]
        let architectures = JSONObject.Member(
          name: "architectures", value: .array(library.architectures.map { .integer($0) }))
        return .object(JSONObject(key == "nvrtc" ? rest + [architectures] : rest))
      case .failure(let error):
        return .object(["path": .null, "problem": .string(error.fact), "remedy": .string(error.remedy)])
      }
    }
  }

  var parts: [Part] {
    [
      Part(key: "driver", name: "driver", found: driver, versionOf: "CUDA "),
      Part(key: "nvrtc", name: "NVRTC", found: compiler),
      Part(key: "cublaslt", name: "cuBLASLt", found: products),
    ]
  }
}
