import CCUDA
import Testing

extension SimulatorTests {
  /// Each word of device.cuh beside a plain loop.
  @Suite struct Wrappers {
    static let source = Result { try Kernels.source("wrappers.cu") }

    private func run(
      _ name: String, block: Int = 32, shared: Int = 0, _ parameters: [UInt64], _ session: Session,
      arch: Int = 80
    ) throws {
      let function = try session.function(name, of: Self.source.get(), arch: arch)
      try session.launch(function, block: block, shared: shared, parameters)
    }

    /// Small numbers that every element type holds exactly. Products of two are sixteenths to 4, so that f16
    /// holds sums of 16 of them.
    private func numbers(_ count: Int, _ factor: Int) -> [Float] {
      (0..<count).map { Float(($0 * factor + 5) % 17 - 8) / 4 }
    }

    /// Fragments as PTX ISA draws them for mma.m16n8k16: lane 4g + t holds columns 2t, 2t + 1 of row g.
    @Test(arguments: ["multiply_half", "multiply_halves", "multiply_brain"], [80, 75])
    func multiplies(kernel: String, arch: Int) throws {
      if kernel == "multiply_brain" && arch == 75 { return }
      let session = try Session(["ARCH": "\(arch)"])
      let a = numbers(16 * 16, 7), b = numbers(8 * 16, 11), c = numbers(16 * 8, 3)
      func bits(_ x: Float) -> UInt32 {
        kernel == "multiply_brain" ? x.bitPattern >> 16 : UInt32(Float16(x).bitPattern)
      }
      func pair(_ row: [Float], _ at: Int) -> UInt32 { bits(row[at]) | bits(row[at + 1]) << 16 }
      var first: [UInt32] = [], second: [UInt32] = [], sums: [Float] = []
      for lane in 0..<32 {
        let g = lane / 4, t = lane % 4
        for (row, k) in [(g, 2 * t), (g + 8, 2 * t), (g, 2 * t + 8), (g + 8, 2 * t + 8)] {
          first.append(pair(a, row * 16 + k))
        }
        for k in [2 * t, 2 * t + 8] { second.append(pair(b, g * 16 + k)) }
        for (row, n) in [(g, 2 * t), (g, 2 * t + 1), (g + 8, 2 * t), (g + 8, 2 * t + 1)] {
          sums.append(c[row * 8 + n])
        }
      }
      let result = try session.upload(sums)
      try run(kernel, [session.upload(first), session.upload(second), result, 0], session, arch: arch)
      let found = try session.download(result, Float.self, count: 128)
      for lane in 0..<32 {
        for i in 0..<4 {
          let row = lane / 4 + i / 2 * 8, n = lane % 4 * 2 + i % 2
          let expected = (0..<16).reduce(c[row * 8 + n]) { $0 + a[row * 16 + $1] * b[n * 16 + $1] }
          #expect(found[lane * 4 + i] == expected)
        }
      }
    }

    /// Sums of f16 are rounded after 16 of k, on Turing after 8: of 2048 + 1 and 1 more it keeps neither 1.
    @Test(arguments: [(arch: 80, sum: Float(2050)), (75, 2048)])
    func halvesAreRoundedAsOften(arch: Int, sum: Float) throws {
      let session = try Session(["ARCH": "\(arch)"])
      func bits(_ x: Float) -> UInt32 { UInt32(Float16(x).bitPattern) }
      // Row 0 of `a` is 2048, 1 and, 8 on, 1: the first lane's first and third registers. All of `b` is 1.
      var a = [UInt32](repeating: 0, count: 128)
      (a[0], a[2]) = (bits(2048) | bits(1) << 16, bits(1))
      let b = [UInt32](repeating: bits(1) | bits(1) << 16, count: 64)
      let result = try session.upload([Float](repeating: 0, count: 128))
      try run("multiply_halves", [session.upload(a), session.upload(b), result, 0], session, arch: arch)
      #expect(try session.download(result, Float.self, count: 3) == [sum, sum, 0])
    }

    @Test(arguments: [false, true])
    func loadsMatrices(transposed: Bool) throws {
      let session = try Session()
      let halves = (0..<256).map { UInt16($0 * 257 % 65521) }
      let result = try session.upload([UInt32](repeating: 0, count: 128))
      try run(
        transposed ? "load_columns" : "load_rows", shared: 512, [session.upload(halves), 0, result, 0],
        session)
      let found = try session.download(result, UInt32.self, count: 128)
      for lane in 0..<32 {
        for matrix in 0..<4 {
          let values = (0..<2).map { i in
            let row = transposed ? lane % 4 * 2 + i : lane / 4
            let column = transposed ? lane / 4 : lane % 4 * 2 + i
            return UInt32(halves[(matrix * 8 + row) * 13 % 32 * 8 + column])
          }
          #expect(found[lane * 4 + matrix] == values[0] | values[1] << 16)
        }
      }
    }

    @Test(arguments: [1, 2, 16, 31])
    func shuffles(mask: Int) throws {
      let session = try Session()
      let result = try session.allocate(128)
      try run("shuffle", [0, 0, result, UInt64(mask)], session)
      #expect(try session.download(result, Float.self, count: 32) == (0..<32).map { Float($0 ^ mask) })
    }

    /// Nearly all copies are not there before the wait, and all are there after it.
    @Test func copiesLandAtTheirWait() throws {
      let session = try Session()
      let values = (0..<1024).map { Float($0) }
      let result = try session.allocate(8192)
      try run("copy_late", block: 256, shared: 4096, [session.upload(values), 0, result, 0], session)
      let found = try session.download(result, Float.self, count: 2048)
      let early = found.prefix(1024).count { !$0.isNaN }
      #expect(early > 0 && early < 300)
      #expect(found.suffix(1024).elementsEqual(values.map { Int($0) / 4 % 2 == 0 ? $0 : 0 }))
    }

    /// On Turing a copy is an ordinary one.
    @Test func copiesLandAtOnceOnTuring() throws {
      let session = try Session(["ARCH": "75"])
      let result = try session.allocate(8192)
      let values = (0..<1024).map { Float($0) }
      try run(
        "copy_late", block: 256, shared: 4096, [session.upload(values), 0, result, 0], session, arch: 75)
      #expect(try session.download(result, Float.self, count: 2048).allSatisfy { !$0.isNaN })
    }

    @Test func waitsForGroupsInOrder() throws {
      var late = 0
      for seed in 1...8 {
        let session = try Session(["SEED": "\(seed)"])
        let result = try session.allocate(32)
        try run(
          "copy_groups", block: 1, shared: 32, [session.upload((1...8).map { Float($0) }), 0, result, 0],
          session)
        let found = try session.download(result, Float.self, count: 8)
        #expect(found.prefix(4).elementsEqual([1, 2, 3, 4]))
        if found[4].isNaN { late += 1 }
      }
      #expect(late > 0)
    }

    @Test(arguments: [1, 31, 32, 100, 1024])
    func barriersJoinWarps(block: Int) throws {
      let session = try Session()
      let function = try session.function("reverse", of: Self.source.get())
      let result = try session.allocate(block * 4 * 5)
      try session.launch(function, grid: (5, 1), block: block, shared: block * 4, [0, 0, result, 0])
      let expected = (0..<block * 5).map { Float(block - 1 - $0 % block) }
      #expect(try session.download(result, Float.self, count: block * 5) == expected)
    }

    @Test func convertsAsAGPUDoes() throws {
      let session = try Session()
      let result = try session.allocate(24)
      try run("convert", block: 1, [0, 0, result, 0], session)
      let found = try session.download(result, Float.self, count: 6)
      #expect(found[0] == Float(Float16(1.0 / 3 as Float)))
      #expect(found[1] == Float(bitPattern: 0x3eab_0000))
      #expect(found[2] == .infinity)
      #expect(found[3] == Float(Int32.max))
      #expect(found[4] == 0)
      #expect(found[5] == Float(UInt32(0x4000_3c00)))
    }
  }
}
