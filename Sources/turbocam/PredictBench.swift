import CUDABackend
import Diffusion
import Engine
import Filter

/// What a frame should take on a card that need not be there: by stage and by kernel, without a driver.
struct PredictBench {
  private let folder: ModelFolder
  private let options: ModelOptions
  private let card: Card

  init(_ folder: ModelFolder, _ options: ModelOptions, _ card: Card) {
    (self.folder, self.options, self.card) = (folder, options, card)
  }

  func run() throws -> JSON {
    let settings = try options.settings(native: folder.nativePicture)
    let pipeline = try PipelineMaker.live(folder, PredictingBackend(card))
      .pipeline(settings.shape) { _, _ in }
    let launches = try pipeline.profile()
    let frame = launches.filter { $0.cadence == .frame }
    return .object([
      "card": cardJSON,
      "model": .string(folder.name), "size": .string(settings.size.description),
      "steps": .integer(settings.steps),
      "frame": .object(JSONObject(row(frame))),
      "stages": table("stage", frame) { $0.stage },
      "kernels": table("kernel", frame) { $0.label },
      "settings_stages": table("stage", launches.filter { $0.cadence == .settings }) { $0.stage },
      "memory_mb": .object([
        "weights": .number(rounded(Double(pipeline.memory.weights) / 1e6, 1)),
        "settings": .number(rounded(Double(pipeline.memory.settings) / 1e6, 1)),
        "arena": .number(rounded(Double(pipeline.memory.arena) / 1e6, 1)),
      ]),
    ])
  }

  private var cardJSON: JSON {
    .object([
      "name": .string(card.name), "multiprocessors": .integer(card.multiprocessors),
      "tensor_tflops": .number(card.tensorOperations / 1e12),
      "plain_tflops": .number(card.plainOperations / 1e12),
      "memory_tb_s": .number(card.bandwidth / 1e12), "launch_us": .number(card.launch * 1e6),
    ])
  }

  /// A row for each name, the slowest first.
  private func table(_ title: String, _ launches: [OpTime], _ name: (OpTime) -> String) -> JSON {
    let groups = Dictionary(grouping: launches, by: name).sorted {
      (seconds($0.value), $1.key) > (seconds($1.value), $0.key)
    }
    return .array(
      groups.map { name, launches in
        .object(JSONObject([JSONObject.Member(name: title, value: .string(name))] + row(launches)))
      })
  }

  private func seconds(_ launches: [OpTime]) -> Double { launches.reduce(0) { $0 + $1.seconds } }

  /// Times, and the least that they could be on this card, in milliseconds.
  private func row(_ launches: [OpTime]) -> [JSONObject.Member] {
    let floor = launches.reduce(0) {
      $0 + card.floor(operations: $1.operations, $1.element, bytes: $1.byteCount)
    }
    let cost = Cost(
      seconds: seconds(launches), operations: launches.reduce(0) { $0 + $1.operations },
      bytes: launches.reduce(0) { $0 + $1.byteCount }, floor: floor)
    return [JSONObject.Member(name: "launches", value: .integer(launches.count))] + cost.members
  }
}
