import CUDABackend
import Diffusion
import Engine
import TestSupport

/// The words of device.cuh that work on a warp or on shared memory, by themselves: kernels of
/// Tests/CUDASimulatorTests/kernels/wrappers.cu, which say what they take and give, beside plain loops.
final class Fragments {
  private let probe: KernelProbe
  private let path: String
  private lazy var compiled = Result { try probe.compile("wrappers.cu", readText(path)) }
  private var module: KernelProbe.Module { get throws { try compiled.get() } }
  private var report = Report()
  private var resumption: Resumption

  /// `path`: of wrappers.cu, beside which warpgroups.cu lies. `after`: the word that was tried last.
  init(path: String, after: String?) throws {
    self.path = path
    resumption = Resumption(after: after)
    probe = try KernelProbe()
  }

  func run() throws -> Report {
    try check("multiply_half") { try self.multiplies("multiply_half", .f16) }
    if probe.device.capability >= 80 {
      try check("multiply_brain") { try self.multiplies("multiply_brain", .bf16) }
    }
    try check("load_rows") { try self.loadsMatrices("load_rows", transposed: false) }
    try check("load_columns") { try self.loadsMatrices("load_columns", transposed: true) }
    try check("shuffle") { try self.shuffles() }
    try check("copy_late") { try self.copies() }
    try check("copy_groups") { try self.copiesGroups() }
    try check("reverse") { try self.barriers() }
    try check("convert") { try self.converts() }
    try check("multiply_halves") { try self.multiplies("multiply_halves", .f16) }
    guard probe.device.capability == 90 else { return report }
    let folder = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(
      separator: "/")
    let warpgroups = WarpgroupWords(probe, path: (folder.isEmpty ? "." : folder) + "/warpgroups.cu")
    for (name, word) in warpgroups.words { try check(name, word) }
    return report
  }

  /// One that throws is one that failed; the others go on, unless the GPU is lost.
  private func check(_ name: String, _ body: () throws -> Bool) throws {
    guard resumption.takes(name) else { return }
    report.begin(name)
    do {
      let passed = try body()
      report.isPassed = report.isPassed && passed
      report.add(name, .string(passed ? "passed" : "differs"))
    } catch let error as CUDAError {
      if case .lost = error { throw error }
      report.isPassed = false
      report.add(name, .string("\(error)"))
    }
  }

  // MARK: Words

  /// Fragments as the PTX ISA draws them for mma.m16n8k16: lane 4g + t holds columns 2t, 2t + 1 of row g.
  private func multiplies(_ kernel: String, _ element: ElementType) throws -> Bool {
    let (a, b, c) = (numbers(16 * 16, 7), numbers(8 * 16, 11), numbers(16 * 8, 3))
    func pair(_ row: [Float], _ at: Int) -> [UInt8] {
      ElementCodec.encode([row[at], row[at + 1]], element)
    }
    var (first, second, sums): ([UInt8], [UInt8], [Float]) = ([], [], [])
    for lane in 0..<32 {
      let (g, t) = (lane / 4, lane % 4)
      for (row, k) in [(g, 2 * t), (g + 8, 2 * t), (g, 2 * t + 8), (g + 8, 2 * t + 8)] {
        first += pair(a, row * 16 + k)
      }
      for k in [2 * t, 2 * t + 8] { second += pair(b, g * 16 + k) }
      for (row, n) in Self.resultPlaces(lane) { sums.append(c[row * 8 + n]) }
    }
    let found = floats(
      try probe.run(
        kernel, of: try module, threads: 32, buffers: [first, second, bytes(sums)], numbers: [0])[2])
    let expected = (0..<32).flatMap { lane in
      Self.resultPlaces(lane).map { row, n in
        (0..<16).reduce(c[row * 8 + n]) { $0 + a[row * 16 + $1] * b[n * 16 + $1] }
      }
    }
    return found == expected
  }

  private static func resultPlaces(_ lane: Int) -> [(row: Int, column: Int)] {
    let (g, t) = (lane / 4, lane % 4)
    return [(g, 2 * t), (g, 2 * t + 1), (g + 8, 2 * t), (g + 8, 2 * t + 1)]
  }

  private func loadsMatrices(_ kernel: String, transposed: Bool) throws -> Bool {
    let halves = (0..<256).map { UInt16($0 * 257 % 65521) }
    let result = try probe.run(
      kernel, of: try module, threads: 32, sharedMemory: 512,
      buffers: [bytes(halves), [0], [UInt8](repeating: 0, count: 512)], numbers: [0])[2]
    let expected = (0..<32).flatMap { lane in
      (0..<4).flatMap { matrix in
        (0..<2).map { i -> UInt16 in
          let row = transposed ? lane % 4 * 2 + i : lane / 4
          let column = transposed ? lane / 4 : lane % 4 * 2 + i
          return halves[(matrix * 8 + row) * 13 % 32 * 8 + column]
        }
      }
    }
    return result == bytes(expected)
  }

  private func shuffles() throws -> Bool {
    try [1, 2, 16, 31].allSatisfy { mask in
      let result = try probe.run(
        "shuffle", of: try module, threads: 32, buffers: [[0], [0], [UInt8](repeating: 0, count: 128)],
        numbers: [UInt64(mask)])[2]
      return floats(result) == (0..<32).map { Float($0 ^ mask) }
    }
  }

  /// What is there after the wait; before it a GPU may have copied anything.
  private func copies() throws -> Bool {
    let values = (0..<1024).map { Float($0) }
    let result = try probe.run(
      "copy_late", of: try module, threads: 256, sharedMemory: 4096,
      buffers: [bytes(values), [0], [UInt8](repeating: 0, count: 8192)], numbers: [0])[2]
    return floats(result).suffix(1024).elementsEqual(values.map { Int($0) / 4 % 2 == 0 ? $0 : 0 })
  }

  private func copiesGroups() throws -> Bool {
    let result = try probe.run(
      "copy_groups", of: try module, threads: 1, sharedMemory: 32,
      buffers: [bytes((1...8).map { Float($0) }), [0], [UInt8](repeating: 0, count: 32)], numbers: [0])[2]
    return floats(result).prefix(4).elementsEqual([1, 2, 3, 4])
  }

  private func barriers() throws -> Bool {
    try [1, 31, 32, 100, 1024].allSatisfy { block in
      let result = try probe.run(
        "reverse", of: try module, blocks: 5, threads: block, sharedMemory: 4 * block,
        buffers: [[0], [0], [UInt8](repeating: 0, count: 4 * 5 * block)], numbers: [0])[2]
      return floats(result) == (0..<block * 5).map { Float(block - 1 - $0 % block) }
    }
  }

  private func converts() throws -> Bool {
    let result = try probe.run(
      "convert", of: try module, threads: 1, buffers: [[0], [0], [UInt8](repeating: 0, count: 24)],
      numbers: [0])[
        2]
    return floats(result) == [
      Float(Float16(1.0 / 3 as Float)), Float(bitPattern: 0x3eab_0000), .infinity, Float(Int32.max), 0,
      Float(UInt32(0x4000_3c00)),
    ]
  }

  // MARK: Numbers

  /// Small numbers that every element type holds exactly. Products of two are sixteenths to 4, so that f16
  /// holds sums of 16 of them.
  private func numbers(_ count: Int, _ factor: Int) -> [Float] {
    (0..<count).map { Float(($0 * factor + 5) % 17 - 8) / 4 }
  }
  private func bytes<T>(_ values: [T]) -> [UInt8] { values.withUnsafeBytes { Array($0) } }
  private func floats(_ bytes: [UInt8]) -> [Float] {
    bytes.withUnsafeBytes { ElementCodec.decode($0, .f32) }
  }
}
