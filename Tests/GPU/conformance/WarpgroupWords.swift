import CUDABackend
import Diffusion
import Engine
import TestSupport

/// The words of warpgroup.cuh beside plain loops, on a Hopper: kernels of
/// Tests/CUDASimulatorTests/kernels/warpgroups.cu, which say what they take and give.
final class WarpgroupWords {
  private let probe: KernelProbe
  private let path: String
  private lazy var compiled = Result { try probe.compile("warpgroups.cu", readText(path), isExact: true) }
  private var module: KernelProbe.Module { get throws { try compiled.get() } }

  init(_ probe: KernelProbe, path: String) { (self.probe, self.path) = (probe, path) }

  /// Each by its name, from the simplest on.
  var words: [(String, () throws -> Bool)] {
    let products = ["f16", "bf16", "e4m3x2"].flatMap { element in
      [64, 80, 128, 160, 256].map { columns in
        ("multiply_\(element)_\(columns)", { try self.multiplies(element, columns) })
      }
    }
    return [("take_turns", takesTurns), ("bring", bringsBoxes), ("eight_bits", roundsToEightBits)] + products
      + [("pipeline", pipeline)]
  }

  private func takesTurns() throws -> Bool {
    // It takes no maps, but their places in the parameters come first all the same.
    let result = try probe.run(
      "take_turns", of: try module, threads: 32, sharedMemory: 1024,
      maps: [map(0, 64, rows: 1), map(0, 64, rows: 1)],
      buffers: [[UInt8](repeating: 0, count: 256), [UInt8](repeating: 0, count: 12)],
      numbers: numbers([0, 0, 0, 0]))[1]
    return result == bytes([UInt32(7), 8, 9])
  }

  /// Boxes inside, over each border, and outside of a tensor of 100 by 70 by 3, which lies among other numbers.
  private func bringsBoxes() throws -> Bool {
    let values = (0..<3 * 72 * 104).map { UInt16(truncatingIfNeeded: $0 &* 40503) }
    let map = KernelProbe.Map(buffer: 0, sizes: (100, 70, 3), strides: (104, 72 * 104), rows: 64)
    let places = [(0, 0, 0), (64, 32, 2), (-8, -3, 1), (96, 69, 0), (200, 0, 0), (0, 0, 3)]
    return try places.allSatisfy { x, y, z in
      let result = try probe.run(
        "bring", of: try module, threads: 32, sharedMemory: 9216, maps: [map, map],
        buffers: [bytes(values), [UInt8](repeating: 0, count: 8192)], numbers: numbers([x, y, z, 0]))[1]
      var expected = [UInt16](repeating: 0, count: 4096)
      for row in 0..<64 {
        for column in 0..<64 where (0..<100).contains(x + column) && (0..<70).contains(y + row) && z < 3 {
          let place = (row * 64 + column) * 2
          expected[(place ^ (place >> 7 & 7) << 4) / 2] = values[(z * 72 + y + row) * 104 + x + column]
        }
      }
      return result == bytes(expected)
    }
  }

  /// The numbers of e4m3 from 0 on, by their bits.
  private static let eightBits = (0..<127).map { bits in
    bits < 8
      ? Float(bits) / 512 : Float(8 + bits % 8) * Float(sign: .plus, exponent: bits / 8 - 10, significand: 1)
  }

  /// All of them, what lies between two, and what lies outside.
  private func roundsToEightBits() throws -> Bool {
    let between = zip(Self.eightBits, Self.eightBits.dropFirst()).map { ($0 + $1) / 2 }
    let values = Self.eightBits + between.prefix(126).map { -$0 } + [1000, -.infinity, 450]
    let expected =
      (0..<127).map { $0 } + (0..<126).map { 128 + ($0 % 2 == 0 ? $0 : $0 + 1) } + [126, 254, 126]
    let result = try probe.run(
      "eight_bits", of: try module, threads: 128, maps: [map(0, 64, rows: 1), map(0, 64, rows: 1)],
      buffers: [[UInt8](repeating: 0, count: 256), bytes(values)], numbers: numbers([0, 0, 0, 0]))[1]
    return result.prefix(256).map { Int($0) } == expected
  }

  private func encoded(_ values: [Float], _ name: String) -> [UInt8] {
    guard name == "e4m3x2" else { return ElementCodec.encode(values, name == "f16" ? .f16 : .bf16) }
    return values.map { UInt8(Self.eightBits.firstIndex(of: abs($0)) ?? 127) | ($0 < 0 ? 128 : 0) }
  }

  private func multiplies(_ name: String, _ columns: Int) throws -> Bool {
    let depth = name == "e4m3x2" ? 128 : 64
    let (a, b) = (floats(64 * depth, 7), floats(columns * depth, 11))
    let result = try probe.run(
      "multiply_\(name)_\(columns)", of: try module, threads: 128, sharedMemory: 8192 + 128 * columns + 1024,
      maps: [map(0, 64, rows: 64), map(1, 64, rows: columns)],
      buffers: [
        encoded(a, name), encoded(b, name),
        [UInt8](repeating: 0, count: 256 * columns),
      ], numbers: numbers([0, 0, 0, 0]))[2]
    return result == bytes(product(a, b, columns: columns, depth: depth, from: 1))
  }

  /// Several blocks' worth of turns through both stages.
  private func pipeline() throws -> Bool {
    let steps = 37
    let depth = 64 * steps
    let (a, b) = (floats(64 * depth, 7), floats(64 * depth, 11))
    let result = try probe.run(
      "pipeline", of: try module, threads: 160, sharedMemory: 4 * 8192 + 1024,
      maps: [map(0, depth, rows: 64), map(1, depth, rows: 64)],
      buffers: [
        ElementCodec.encode(a, .f16), ElementCodec.encode(b, .f16), [UInt8](repeating: 0, count: 16384),
      ], numbers: numbers([0, 0, 0, steps]))[2]
    return result == bytes(product(a, b, columns: 64, depth: depth, from: 0))
  }

  // MARK: Numbers

  /// All of a matrix of rows of `depth`.
  private func map(_ buffer: Int, _ depth: Int, rows: Int) -> KernelProbe.Map {
    KernelProbe.Map(
      buffer: buffer, sizes: (UInt64(depth), UInt64(rows), 1),
      strides: (UInt64(depth), UInt64(depth * rows)), rows: UInt32(rows))
  }
  /// Those of the kernels' parameters, with what fills them up.
  private func numbers(_ values: [Int]) -> [UInt64] {
    values.map { UInt64(bitPattern: Int64($0)) } + [0, 0, 0]
  }
  /// a [64][depth] b [columns][depth]^T and a number more.
  private func product(_ a: [Float], _ b: [Float], columns: Int, depth: Int, from start: Float) -> [Float] {
    (0..<64 * columns).map { place in
      (0..<depth).reduce(start) { $0 + a[place / columns * depth + $1] * b[place % columns * depth + $1] }
    }
  }
  /// Small numbers that every element type holds exactly.
  private func floats(_ count: Int, _ factor: Int) -> [Float] {
    (0..<count).map { Float(($0 * factor + 5) % 17 - 8) / 4 }
  }
  private func bytes<T>(_ values: [T]) -> [UInt8] { values.withUnsafeBytes { Array($0) } }
}
