import CUDABackend
import Diffusion
import Engine
import GraphCases

/// Every op in every element type beside the reference: the cases of `make test`.
enum Ops {
  /// Three bits of mantissa lose some 4% of each product, and less of a sum.
  private static let eightBitTolerance = 0.06

  /// Stops after so many seconds: half a report is better than none.
  static func run(every: Int, seconds: Double) throws -> Report {
    let end = now() + seconds
    let backend = try CUDABackend(tuning: .off)
    // Products once more by cuBLASLt, where it is there.
    let library = try? CUDASystem.survey().products.get()
    let others = try library.map { _ in try CUDABackend(tuning: .library) }
    // And by Hopper's warpgroups, in one of their tiles each.
    let warpgroups =
      backend.device.capability == 90
      ? try (0..<CUDABackend.warpgroupTiles).map { try CUDABackend(tuning: .warpgroups($0)) } : []
    var report = Report()
    var (passed, failures): (Int, [JSON]) = (0, [])
    var worst: [String: Double] = [:]
    let cases = OpCase.all.enumerated().filter { $0.offset % every == 0 }.map(\.element)
    report.add("cases", .number(Double(3 * cases.count)))
    // Layers behind a layer norm in eight bits have an error of their own.
    let eightBits = try warpgroups.isEmpty ? nil : CUDABackend(products: ProductFormat(linears: .f8))
    report.add("with_cublaslt", .bool(others != nil))
    report.add("with_warpgroups", .bool(!warpgroups.isEmpty))
    // Neighbours are alike: in this order the first few are of every kind.
    for op in cases.sorted(by: { $0.seed < $1.seed }) {
      if now() > end { break }
      for element in [ElementType.f16, .f32, .bf16] {
        let error: Double
        do {
          let multiplies = [.linear, .convolution, .normedLinear].contains(op.family)
          let more = [others, warpgroups.isEmpty ? nil : warpgroups[Int(op.seed) % warpgroups.count]]
          let all = [backend] + (multiplies ? more.compactMap { $0 } : [])
          error = try all.map { try op.make(element).error(of: $0) }.max() ?? .infinity
        } catch {
          failures.append(.string("\(op) in \(element): \(error)"))
          // Nothing runs on a GPU that is lost.
          if case .lost = error as? CUDAError { return finish(&report, passed, failures, worst) }
          continue
        }
        if let eightBits, op.family == .normedLinear, element == .f16 {
          let rounded = try op.make(element).error(of: eightBits)
          worst["\(op.family) of eight bits", default: 0] = max(
            worst["\(op.family) of eight bits"] ?? 0, rounded)
          if rounded > Self.eightBitTolerance {
            failures.append(.string("\(op) in eight bits: \(rounded)"))
          }
        }
        let share = error / max(op.tolerance(element), 1e-30)
        worst["\(op.family) \(element)", default: 0] = max(worst["\(op.family) \(element)"] ?? 0, error)
        if error <= op.tolerance(element) {
          passed += 1
        } else {
          failures.append(.string("\(op) in \(element): \(error), \(share) times what is allowed"))
        }
      }
    }
    return finish(&report, passed, failures, worst)
  }

  private static func finish(
    _ report: inout Report, _ passed: Int, _ failures: [JSON], _ worst: [String: Double]
  ) -> Report {
    report.isPassed = failures.isEmpty
    report.add("passed", .number(Double(passed)))
    report.add("failed", .number(Double(failures.count)))
    report.add("failures", .array(Array(failures.prefix(40))))
    report.add(
      "worst",
      .object(
        JSONObject(worst.sorted { $0.key < $1.key }.map { .init(name: $0.key, value: .number($0.value)) })))
    return report
  }
}
