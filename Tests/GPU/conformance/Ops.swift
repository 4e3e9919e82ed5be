import CUDABackend
import Diffusion
import Engine
import GraphCases

/// Every op in every element type beside the reference: the cases of `make test`, with products in one of the ways
/// that there are.
struct Ops {
  /// How products are computed. Each is tried by itself: the fault of one says nothing of another, and may end the
  /// process.
  enum Products: String {
    /// By our kernels for any card.
    case plain
    /// By cuBLASLt, where it is there.
    case cublaslt
    /// By Hopper's warpgroups, in one of their tiles each.
    case warpgroups
    /// Linear layers behind a layer norm in e4m3, by warpgroups.
    case eightbits
  }

  /// One case by one backend.
  private struct Trial {
    /// "linear 3 in f16 by 128x80x4w"
    var name: String
    var tolerance: Double
    var make: () throws -> Case
    var backend: () throws -> CUDABackend
  }

  /// Three bits of mantissa lose some 4% of each product, and less of a sum.
  private static let eightBitTolerance = 0.06
  private static let tiles = CUDABackend.warpgroupTiles

  private let trials: [Trial]
  private var resumption: Resumption
  private var report = Report()

  init(_ products: Products, every: Int, after: String?) throws {
    resumption = Resumption(after: after)
    trials = try Self.trials(products, every)
  }

  /// Stops after so many seconds: half a report is better than none.
  func run(seconds: Double) throws -> Report {
    let end = now() + seconds
    var (report, resumption) = (report, resumption)
    report.add("cases", .number(Double(trials.count)))
    for trial in trials where resumption.takes(trial.name) {
      if now() > end { break }
      report.begin(trial.name)
      do {
        let error = try trial.make().error(of: trial.backend())
        report.isPassed = report.isPassed && error <= trial.tolerance
        report.add(
          trial.name,
          .object([
            "passed": .bool(error <= trial.tolerance), "error": .number(error),
            "allowed": .number(trial.tolerance),
          ]))
      } catch {
        // Nothing runs on a GPU that is lost.
        if case .lost = error as? CUDAError { throw error }
        report.isPassed = false
        report.add(trial.name, .object(["passed": .bool(false), "error": .string("\(error)")]))
      }
    }
    return report
  }

  private static func trials(_ products: Products, _ every: Int) throws -> [Trial] {
    let all = OpCase.all.enumerated().filter { $0.offset % every == 0 }.map(\.element)
    // Neighbours are alike: in this order the first few are of every kind.
    let cases = all.sorted { $0.seed < $1.seed }
    let multiplying = cases.filter { [.linear, .convolution, .normedLinear].contains($0.family) }
    switch products {
    case .plain:
      let backend = try CUDABackend(tuning: .off)
      return cases.flatMap { op in [.f16, .f32, .bf16].map { trial(op, $0, "our kernels") { backend } } }
        + [halfSums()]
    case .cublaslt:
      _ = try CUDASystem.survey().products.get()
      let backend = try CUDABackend(tuning: .library)
      return multiplying.flatMap { op in [.f16, .bf16].map { trial(op, $0, "cuBLASLt") { backend } } }
    case .warpgroups:
      let backends = try tiles.indices.map { try CUDABackend(tuning: .warpgroups($0)) }
      return multiplying.flatMap { op in
        let tile = op.seed % tiles.count
        return [.f16, .bf16].map { trial(op, $0, tiles[tile]) { backends[tile] } }
      }
    case .eightbits:
      let backends = try tiles.indices.map {
        try CUDABackend(products: ProductFormat(linears: .f8), tuning: .warpgroups($0))
      }
      return deepProducts(backends)
        + multiplying.filter { $0.family == .normedLinear }.map { op in
          let tile = op.seed % tiles.count
          var made = trial(op, .f16, "\(tiles[tile]) in e4m3") { backends[tile] }
          made.tolerance = eightBitTolerance
          return made
        }
    }
  }

  private static func trial(
    _ op: OpCase, _ element: ElementType, _ way: String, _ backend: @escaping () throws -> CUDABackend
  ) -> Trial {
    Trial(
      name: "\(op) in \(element) by \(way)", tolerance: op.tolerance(element),
      make: { op.make(element) }, backend: backend)
  }

  /// The same with tiles of k summed in f16, whose error does not grow with the depth.
  private static func halfSums() -> Trial {
    Trial(
      name: "deep-linear 5120 in f16 by our kernels with sums of f16", tolerance: 1.2e-3,
      make: {
        let test = Case(seed: 5120)
        let limit = (3 / Float(5120)).squareRoot()
        let weight = test.weight([64, 5120], .f16, stored: .f16, -limit...limit)
        test.graph.output("y", test.graph.linear(test.input([64, 5120], .f16), weight: weight))
        return test
      }, backend: { try CUDABackend(products: ProductFormat(sums: .f16), tuning: .off) })
  }

  /// A transformer's widest layer: Hopper sums products of eight bits in fewer bits than f32 has, which shows where many
  /// are summed.
  private static func deepProducts(_ backends: [CUDABackend]) -> [Trial] {
    tiles.indices.map { tile in
      Trial(
        name: "deep-linear 5120 in f16 by \(tiles[tile]) in e4m3", tolerance: eightBitTolerance,
        make: {
          let test = Case(seed: 5)
          test.writeNormedLayer(rows: 64, depth: 5120, filters: 160)
          return test
        }, backend: { backends[tile] })
    }
  }
}
