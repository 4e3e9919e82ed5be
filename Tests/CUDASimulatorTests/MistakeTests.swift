import CCUDA
import TestSupport
import Testing

extension SimulatorTests {
  /// A tensor-core product is right in every order; with a line taken out it is not, or does not end well.
  @Suite struct Mistakes {
    static let rows = 75, columns = 52, depth = 256

    enum Outcome: Equatable {
      case right, wrong, failed(Int32)
    }

    private func run(_ source: String, seed: Int) throws -> Outcome {
      let session = try Session(["SEED": "\(seed)"])
      let x = (0..<Self.rows * Self.depth).map { Float16(Float($0 * 7 % 23 - 11) / 8) }
      let weight = (0..<Self.columns * Self.depth).map { Float16(Float($0 * 5 % 19 - 9) / 8) }
      let function = try session.function("matrix", of: source)
      let result = try session.allocate(Self.rows * Self.columns * 4)
      let sizes = [Self.rows, Self.columns, Self.depth].map { UInt64($0) }
      try session.launch(
        function, grid: ((Self.rows + 31) / 32, (Self.columns + 31) / 32), block: 64, shared: 3 * 4096,
        [session.upload(x), session.upload(weight), result] + sizes)
      let found: [Float]
      do {
        found = try session.download(result, Float.self, count: Self.rows * Self.columns)
      } catch let failure as CUDAFailure {
        return .failed(failure.code)
      }
      // All products and sums are multiples of 1/64 below 2^17/64: exact in f32, in any order.
      for m in 0..<Self.rows {
        for n in 0..<Self.columns {
          var sum: Float = 0
          for k in 0..<Self.depth {
            sum += Float(x[m * Self.depth + k]) * Float(weight[n * Self.depth + k])
          }
          if found[m * Self.columns + n] != sum { return .wrong }
        }
      }
      return .right
    }

    private func replacing(_ line: String, with other: String) throws -> String {
      let source = try Kernels.source("matrix.cu")
      let parts = source.split(separator: line, omittingEmptySubsequences: false)
      try #require(parts.count == 2, "\(line) must be in the kernel once")
      return parts.joined(separator: other)
    }

    /// What may begin before the kernel before it has ended must wait for it, in every thread; cards before Hopper know
    /// no such launches.
    @Test(arguments: [
      (arch: 90, kernel: "add_one_after", argument: UInt64(0), result: Int32(0)),
      (90, "add_one_after", 1, 719), (90, "add_one", 0, 719), (89, "add_one_after", 0, 801),
    ]) func aKernelThatDoesNotWait(arch: Int, kernel: String, argument: UInt64, result: Int32) throws {
      let session = try Session(["ARCH": "\(arch)"])
      let function = try session.function(kernel, of: Kernels.source("wrappers.cu"), arch: arch)
      let number = try session.upload([Float(1)])
      try session.synchronize()
      let code: Int32
      do {
        try session.launchOverlapping(function, block: kernel == "add_one" ? 1 : 2, [0, 0, number, argument])
        let found = try session.download(number, Float.self, count: 1)
        #expect(found == [2])
        code = 0
      } catch let failure as CUDAFailure {
        code = failure.code
      }
      #expect(code == result)
    }

    @Test(arguments: 1...6) func aRightKernelIsRight(seed: Int) throws {
      #expect(try run(Kernels.source("matrix.cu"), seed: seed) == .right)
    }

    @Test(arguments: 1...3) func aMissingWait(seed: Int) throws {
      #expect(try run(replacing("copy_wait<STAGES - 2>();", with: ""), seed: seed) == .wrong)
    }

    @Test(arguments: 1...3) func aWaitForTooFewGroups(seed: Int) throws {
      #expect(
        try run(replacing("copy_wait<STAGES - 2>();", with: "copy_wait<STAGES - 1>();"), seed: seed) == .wrong
      )
    }

    @Test(arguments: 1...3) func aMissingBarrier(seed: Int) throws {
      #expect(try run(replacing("sync_threads();", with: ""), seed: seed) == .wrong)
    }

    /// The next tile is loaded over one that another warp may still read: only copies that land early show it.
    @Test(arguments: 1...3) func aCopyBeforeTheBarrier(seed: Int) throws {
      let load = "if (next < steps) load(p, memory + next % STAGES * STAGE_BYTES, next);"
      let without = try replacing(load, with: "")
      let early =
        "int soon = step + STAGES - 1; if (soon < steps) "
        + "load(p, memory + soon % STAGES * STAGE_BYTES, soon); sync_threads();"
      let parts = without.split(separator: "sync_threads();", omittingEmptySubsequences: false)
      #expect(try run(parts.joined(separator: early), seed: seed) == .wrong)
    }

    @Test(arguments: ["bool has_m = m < p.rows;", "bool has_n = n < p.columns;"])
    func aLoadOutOfBounds(check: String) throws {
      let always = check.prefix { $0 != "=" } + "= true;"
      #expect(try run(replacing(check, with: String(always)), seed: 1) == .failed(700))
      #expect(Simulator.shared.report.contains("an asynchronous copy reads"))
    }

    @Test func aStoreOutOfBounds() throws {
      let source = try replacing("if (m < p.rows && n < p.columns) ", with: "")
      #expect(try run(source, seed: 1) == .failed(700))
      #expect(Simulator.shared.report.contains("behind the \(Self.rows * Self.columns * 4) bytes at"))
    }

    @Test func aDivergentBarrier() throws {
      let source = try replacing("sync_threads();", with: "if (threadIdx.x != 13) sync_threads();")
      #expect(try run(source, seed: 1) == .failed(719))
      #expect(Simulator.shared.report.contains("divergent barrier"))
      #expect(Simulator.shared.report.hasPrefix("matrix, block ("))
    }

    @Test func aThreadThatLeavesBeforeABarrier() throws {
      let source = try replacing(
        "float sums[4][4] = {};", with: "float sums[4][4] = {}; if (threadIdx.x > 62) return;")
      #expect(try run(source, seed: 1) == .failed(719))
    }
  }
}
