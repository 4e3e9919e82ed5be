import CPUBackend
import CUDABackend
import Diffusion
import Engine
import Filter
import Frames
import Glibc

/// What this machine can do at best, measured when it is first asked for: not before the suites have looked
/// at the memory they take.
final class Machine {
  let backend: any Backend
  /// Of the processor's backend; nil for a GPU's.
  private var threads: Int? { (backend as? CPUBackend)?.threads }
  private lazy var peak = Result { try Self.measurePeak(threads: threads) }
  /// A GPU's peaks are its maker's.
  private let card: Card?
  private lazy var copyRate = Self.measureCopying()

  init(_ backend: any Backend) {
    self.backend = backend
    // Where several take turns, stages are those of one.
    let first = (backend as? TurnsBackend)?.members.first ?? backend
    card = (first as? CUDABackend).map { Card($0.device) }
  }

  var json: JSON {
    get throws {
      if let card { return cardJSON(card) }
      let peak = try peak.get()
      return .object([
        "device": .string(backend.description),
        "peak_gflops": .object(
          JSONObject(
            peak.sorted { $0.value < $1.value }.map {
              JSONObject.Member(name: $0.key.rawValue, value: .number(rounded($0.value / 1e9, 0)))
            })),
        "copy_gb_s": .number(rounded(copyRate / 1e9, 1)),
      ])
    }
  }

  private func cardJSON(_ card: Card) -> JSON {
    .object([
      "device": .string(backend.description),
      "peak_gflops": .object([
        "f32": .number(rounded(card.operations(.f32) / 1e9, 0)),
        "f16": .number(rounded(card.operations(.f16) / 1e9, 0)),
      ]),
      "memory_gb_s": .number(rounded(card.bandwidth / 1e9, 1)),
      "copy_gb_s": .number(rounded(copyRate / 1e9, 1)),
    ])
  }

  /// Seconds that the products of these ops take at the peak of the element type of each; on a GPU, at least
  /// the time of each op's memory traffic.
  func floor(of ops: [OpTime]) throws -> Double {
    if let card {
      return ops.reduce(0) { $0 + card.floor(operations: $1.operations, $1.element, bytes: $1.byteCount) }
    }
    let peak = try peak.get()
    return ops.reduce(0) { $0 + $1.operations / (peak[$1.element] ?? peak[.f32] ?? .infinity) }
  }

  /// Seconds that so many bytes take, read and written ones together, at the rate of copying.
  func floor(bytes: Int) -> Double { Double(bytes) / copyRate }

  /// The best of a few measurements: other work on the machine would lower one, and flatter every ratio.
  private static func measurePeak(threads: Int?) throws -> [ElementType: Double] {
    var best: [ElementType: Double] = [:]
    for _ in 0..<4 { best.merge(try CPUBackend.measurePeak(threads: threads), uniquingKeysWith: max) }
    return best
  }

  /// Bytes a second, read and written ones together, that one thread copies at best: a frame's station is one
  /// thread, and its picture fits the caches as these 2 MiB do.
  private static func measureCopying() -> Double {
    let size = 1 << 20
    let source = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 4096)
    let target = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 4096)
    defer {
      source.deallocate()
      target.deallocate()
    }
    source.initializeMemory(as: UInt8.self, repeating: 1)
    var best = UInt64.max
    let end = Clock.now() + 200_000_000
    while Clock.now() < end {
      let start = Clock.now()
      target.copyMemory(from: UnsafeRawBufferPointer(source))
      best = min(best, max(Clock.now() - start, 1))
      source[0] = target[size - 1] &+ 1
    }
    return Double(2 * size) * 1e9 / Double(best)
  }
}
