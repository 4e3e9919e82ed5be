import CCUDA
import TestSupport
import Testing

extension SimulatorTests {
  /// The words of warpgroup.cuh beside plain loops, and what happens where one is missing.
  @Suite struct Warpgroups {
    static let source = Result { try Kernels.source("warpgroups.cu") }

    /// Words of a kernel's parameters.
    private func parameters(
      _ first: [UInt64], _ second: [UInt64], result: UInt64, _ numbers: [Int] = [0, 0, 0, 0]
    ) -> [UInt64] {
      first + second + [result] + numbers.map { UInt64(bitPattern: Int64($0)) } + [0, 0, 0]
    }

    /// Small numbers that every element type holds exactly.
    private func numbers(_ count: Int, _ factor: Int) -> [Float] {
      (0..<count).map { Float(($0 * factor + 5) % 17 - 8) / 4 }
    }

    /// Where 16 bytes lie in a box: bits 4 to 6 of their place by bits 7 to 9.
    private func swizzled(_ place: Int) -> Int { place ^ (place >> 7 & 7) << 4 }

    /// Boxes inside, over each border, and outside of a tensor of 100 by 70 by 3, which lies among other numbers.
    @Test(arguments: [(0, 0, 0), (64, 32, 2), (-8, -3, 1), (96, 69, 0), (200, 0, 0), (0, 0, 3)])
    func bringsBoxes(x: Int, y: Int, z: Int) throws {
      let session = try Session(["ARCH": "90"])
      let values = (0..<3 * 72 * 104).map { UInt16(truncatingIfNeeded: $0 &* 40503) }
      let map = try session.map(session.upload(values), (100, 70, 3), (104, 72 * 104), rows: 64)
      let result = try session.allocate(8192)
      try session.launch(
        session.function("bring", of: Self.source.get(), arch: 90), block: 32, shared: 9216,
        parameters(map, map, result: result, [x, y, z, 0]))
      let found = try session.download(result, UInt16.self, count: 4096)
      for row in 0..<64 {
        for column in 0..<64 {
          let (i, j) = (x + column, y + row)
          let isInside = (0..<100).contains(i) && (0..<70).contains(j) && (0..<3).contains(z)
          let expected = isInside ? values[(z * 72 + j) * 104 + i] : 0
          #expect(found[swizzled((row * 64 + column) * 2) / 2] == expected)
        }
      }
    }

    @Test(arguments: 1...4) func barriersHavePhases(seed: Int) throws {
      let session = try Session(["ARCH": "90", "SEED": "\(seed)"])
      let none = [UInt64](repeating: 0, count: 16)
      let result = try session.allocate(12)
      try session.launch(
        session.function("take_turns", of: Self.source.get(), arch: 90), block: 32, shared: 1024,
        parameters(none, none, result: result))
      #expect(try session.download(result, UInt32.self, count: 3) == [7, 8, 9])
    }

    /// The numbers of e4m3 from 0 on, by their bits.
    static let eightBits = (0..<127).map { bits in
      bits < 8
        ? Float(bits) / 512
        : Float(8 + bits % 8) * Float(sign: .plus, exponent: bits / 8 - 10, significand: 1)
    }

    /// All of them, what lies between two, and what lies outside.
    @Test func roundsToEightBits() throws {
      let session = try Session(["ARCH": "90"])
      let between = zip(Self.eightBits, Self.eightBits.dropFirst()).map { ($0 + $1) / 2 }
      // Halves go to the even one; 1000 and infinity to the largest.
      let values = Self.eightBits + between.prefix(126).map { -$0 } + [1000, -.infinity, 450]
      let expected =
        (0..<127).map { $0 } + (0..<126).map { 128 + ($0 % 2 == 0 ? $0 : $0 + 1) } + [126, 254, 126]
      let result = try session.upload(values)
      let none = [UInt64](repeating: 0, count: 16)
      try session.launch(
        session.function("eight_bits", of: Self.source.get(), arch: 90), block: 128,
        parameters(none, none, result: result))
      #expect(try session.download(result, UInt8.self, count: 256).map(Int.init) == expected)
    }

    @Test(arguments: ["f16", "bf16", "e4m3x2"], [64, 80, 128, 160, 256])
    func multiplies(element: String, columns: Int) throws {
      let session = try Session(["ARCH": "90"])
      let depth = element == "e4m3x2" ? 128 : 64
      let (a, b) = (numbers(64 * depth, 7), numbers(columns * depth, 11))
      func bytes(_ x: Float) -> [UInt8] {
        guard element == "e4m3x2" else {
          let bits = element == "f16" ? Float16(x).bitPattern : UInt16(x.bitPattern >> 16)
          return [UInt8(bits & 255), UInt8(bits >> 8)]
        }
        let bits = Self.eightBits.firstIndex(of: abs(x)) ?? 127
        return [UInt8(bits) | (x < 0 ? 128 : 0)]
      }
      let first = try session.map(session.upload(a.flatMap(bytes)), (64, 64, 1), (64, 4096), rows: 64)
      let second = try session.map(
        session.upload(b.flatMap(bytes)), (64, UInt64(columns), 1), (64, UInt64(64 * columns)),
        rows: UInt32(columns))
      let result = try session.allocate(64 * columns * 4)
      try session.launch(
        session.function("multiply_\(element)_\(columns)", of: Self.source.get(), arch: 90), block: 128,
        shared: 8192 + 128 * columns + 1024, parameters(first, second, result: result))
      let found = try session.download(result, Float.self, count: 64 * columns)
      for row in 0..<64 {
        for column in 0..<columns {
          let expected = (0..<depth).reduce(Float(1)) {
            $0 + a[row * depth + $1] * b[column * depth + $1]
          }
          #expect(found[row * columns + column] == expected)
        }
      }
    }

    // MARK: Mistakes

    private static let steps = 5

    private func run(_ source: String, seed: Int) throws -> Mistakes.Outcome {
      let session = try Session(["ARCH": "90", "SEED": "\(seed)"])
      let depth = 64 * Self.steps
      let (a, b) = (numbers(64 * depth, 7), numbers(64 * depth, 11))
      func map(_ values: [Float]) throws -> [UInt64] {
        try session.map(
          session.upload(values.map { Float16($0) }), (UInt64(depth), 64, 1),
          (UInt64(depth), UInt64(64 * depth)),
          rows: 64)
      }
      let result = try session.allocate(64 * 64 * 4)
      try session.launch(
        session.function("pipeline", of: source, arch: 90), block: 160, shared: 4 * 8192 + 1024,
        parameters(map(a), map(b), result: result, [0, 0, 0, Self.steps]))
      let found: [Float]
      do {
        found = try session.download(result, Float.self, count: 64 * 64)
      } catch let failure as CUDAFailure {
        return .failed(failure.code)
      }
      for row in 0..<64 {
        for column in 0..<64 {
          let expected = (0..<depth).reduce(Float(0)) { $0 + a[row * depth + $1] * b[column * depth + $1] }
          if found[row * 64 + column] != expected { return .wrong }
        }
      }
      return .right
    }

    private func replacing(_ line: String, with other: String) throws -> String {
      let parts = try Self.source.get().split(separator: line, omittingEmptySubsequences: false)
      try #require(parts.count == 2, "\(line) must be in the kernels once")
      return parts.joined(separator: other)
    }

    @Test(arguments: 1...6) func aRightPipelineIsRight(seed: Int) throws {
      #expect(try run(Self.source.get(), seed: seed) == .right)
    }

    @Test(arguments: 1...3) func aMissingWaitForABox(seed: Int) throws {
      let source = try replacing("barrier_wait(full + step % 2, step / 2 & 1);", with: "")
      #expect(try run(source, seed: seed) != .right)
    }

    @Test(arguments: 1...3) func aStageThatIsStillRead(seed: Int) throws {
      let source = try replacing("if (step >= 2) barrier_wait(empty + stage, step / 2 - 1 & 1);", with: "")
      #expect(try run(source, seed: seed) != .right)
    }

    /// Products are under way until somebody waits for them, and so is what they read. It shows where the next box is
    /// quicker than the wait.
    @Test func aStageThatIsGivenAwayTooEarly() throws {
      let early =
        "if (lane == 0) barrier_arrive(empty + step % 2);\n warpgroup_wait<0>();\n"
      let source = try replacing(
        "warpgroup_wait<0>();\n    if (lane == 0) barrier_arrive(empty + step % 2);", with: early)
      #expect(try (1...16).contains { try run(source, seed: $0) == .wrong })
    }

    @Test func sumsThatAreReadTooEarly() throws {
      let source = try replacing(
        "warpgroup_wait<0>();\n    if (lane == 0) barrier_arrive(empty + step % 2);",
        with: "warpgroup_wait<1>();\n if (lane == 0) barrier_arrive(empty + step % 2);")
      #expect(try run(source, seed: 1) == .failed(719))
      #expect(Simulator.shared.report.contains("nobody waited for"))
    }

    /// A phase that ends before all of its bytes have come, or never.
    @Test(arguments: ["BOX_BYTES", "3 * BOX_BYTES"]) func aBarrierThatExpectsOtherBytes(bytes: String) throws
    {
      let source = try replacing(
        "barrier_expect(full + stage, 2 * BOX_BYTES);", with: "barrier_expect(full + stage, \(bytes));")
      #expect(try run(source, seed: 1) == .failed(719))
    }

    @Test func aBoxOffItsPlace() throws {
      let source = try replacing("u8 *to = memory + stage", with: "u8 *to = memory + 512 + stage")
      #expect(try run(source, seed: 1) == .failed(716))
    }

    @Test func aBarrierThatWasNotMade() throws {
      let source = try replacing("      barrier_make(empty + stage, 4);\n", with: "")
      #expect(try run(source, seed: 1) == .failed(719))
      #expect(Simulator.shared.report.contains("not made"))
    }

    @Test func mapsThatTheDriverRefuses() throws {
      let session = try Session(["ARCH": "90"])
      let memory = try session.allocate(1 << 16)
      #expect(throws: CUDAFailure(code: 1)) { try session.map(memory + 8, (64, 64, 1), (64, 4096), rows: 64) }
      #expect(throws: CUDAFailure(code: 1)) { try session.map(memory, (64, 64, 1), (60, 4096), rows: 64) }
      #expect(throws: CUDAFailure(code: 1)) { try session.map(memory, (64, 64, 1), (64, 4096), rows: 257) }
    }
  }
}

extension Session {
  /// Boxes of 64 16-bit elements by `rows` of a tensor, swizzled. Sizes and strides in elements.
  func map(
    _ address: UInt64, _ sizes: (UInt64, UInt64, UInt64), _ strides: (UInt64, UInt64), rows: UInt32
  ) throws -> [UInt64] {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 128, alignment: 64)
    defer { memory.deallocate() }
    try Self.check(
      simulator.call("cuTensorMapEncodeTiled", as: tc_cuTensorMapEncodeTiled.self)(
        memory, TC_CUDA_MAP_UINT16, 3, UnsafeMutableRawPointer(bitPattern: UInt(address)),
        [sizes.0, sizes.1, sizes.2], [strides.0 * 2, strides.1 * 2], [64, rows, 1], [1, 1, 1], 0,
        TC_CUDA_MAP_SWIZZLE_128, TC_CUDA_MAP_PROMOTE_256, 0))
    return (0..<16).map { memory.load(fromByteOffset: 8 * $0, as: UInt64.self) }
  }
}
