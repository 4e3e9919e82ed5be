import CCUDA
import Engine
import Glibc

/// A product that can be timed with weights in other places.
protocol ProductWork: Runnable {
  /// Errors: `CUDAError`.
  func use(weight: tc_CUdeviceptr) throws
}

/// Measures which way of computing a product is fastest, once for each shape and GPU.
///
/// What is timed is what a frame does: a captured graph, the picture in the cache where the last kernel left
/// it, and weights that come from memory, for in a frame gigabytes of other weights lie between two uses of
/// the same. Both are drawn numbers: zeros, or all the same, take less power and leave the clock higher than
/// real ones do.
final class ProductTuner {
  private let stream: GPUStream
  private let library: KernelLibrary
  private var weights: DeviceBuffer?
  private var pictures: DeviceBuffer?
  /// How many shapes were measured.
  private(set) var measured = 0

  /// Runs in a graph, and rounds of all candidates' graphs, of which each one's quickest counts.
  private static let (runs, rounds) = (16, 3)
  /// Work before the first round, in seconds: a GPU that had none runs at a lower clock, its memory at its
  /// usual one.
  private static let warmUp = 0.03

  /// A way to compute a product, captured and ready to be timed.
  private struct Contender {
    let choice: ProductChoice
    let graph: CapturedGraph
    /// Kernels read it until the last of them is done.
    let scratch: Scratch
  }

  init(_ stream: GPUStream, _ library: KernelLibrary) {
    (self.stream, self.library) = (stream, library)
  }

  /// The choice for a shape: known, or the fastest of `candidates`, which are made one after the other;
  /// `make` is told where numbers for `pictureBytes` of x are, nil where the product is to stay as it is.
  func choice(
    for shape: ProductShape, weightBytes: Int, pictureBytes: Int, candidates: [ProductChoice],
    make: (ProductChoice, Scratch, tc_CUdeviceptr?) throws -> (any ProductWork)?
  ) throws -> ProductChoice? {
    if library.tuning == .library {
      return try candidates.first { candidate in
        guard case .library = candidate else { return false }
        return try make(candidate, Scratch(), nil) != nil
      }
    }
    if let known = library.choices[shape] { return known }
    guard try makeNumbers(weightBytes, pictureBytes), let weights, let pictures else { return nil }
    let contenders = try candidates.compactMap { choice in
      try contender(choice, weights, weightBytes) { try make(choice, $0, pictures.address) }
    }
    guard let best = try fastest(contenders) else { return nil }
    measured += 1
    library.choices.set(best, for: shape, isSure: stream.context.isQuiet)
    return best
  }

  /// Keeps what was measured, and gives memory back.
  func finish() {
    library.choices.save()
    (weights, pictures) = (nil, nil)
  }

  /// nil where it cannot be had; what the GPU does not survive is thrown.
  private func contender(
    _ choice: ProductChoice, _ place: DeviceBuffer, _ weightBytes: Int,
    make: (Scratch) throws -> (any ProductWork)?
  ) throws -> Contender? {
    do {
      let scratch = Scratch()
      guard let work = try make(scratch) else { return nil }
      try scratch.commit(stream)
      // Libraries load kernels at their first call, which a capture may not survive.
      try work.run()
      try stream.synchronize("trying a product")
      let step = ceiling(weightBytes, 256) * 256
      let copies = max(1, place.byteCount / step)
      let graph = try CapturedGraph(stream) {
        for run in 0..<Self.runs {
          try work.use(weight: place.address + UInt64(run % copies * step))
          try work.run()
        }
      }
      return Contender(choice: choice, graph: graph, scratch: scratch)
    } catch let error as CUDAError where !error.endsPrograms {
      return nil
    }
  }

  /// Of each the quickest of some rounds, in which they take turns, so that all meet the same clocks. nil for
  /// none.
  private func fastest(_ contenders: [Contender]) throws -> ProductChoice? {
    guard contenders.count > 1 else { return contenders.first?.choice }
    try warmUp(contenders)
    let clock = StreamClock(stream)
    try clock.mark()
    for _ in 0..<Self.rounds {
      for contender in contenders {
        try contender.graph.run()
        try clock.mark()
      }
    }
    try stream.synchronize("timing a product")
    let times = try clock.intervals()
    func best(_ index: Int) -> Double {
      stride(from: index, to: times.count, by: contenders.count).map { times[$0] }.min() ?? .infinity
    }
    return contenders.indices.min { best($0) < best($1) }.map { contenders[$0].choice }
  }

  private func warmUp(_ contenders: [Contender]) throws {
    var seconds = 0.0
    while seconds < Self.warmUp {
      let clock = StreamClock(stream)
      try clock.mark()
      for contender in contenders { try contender.graph.run() }
      try clock.mark()
      try stream.synchronize("warming up")
      // A clock that stands still does not make this endless.
      seconds += max(try clock.intervals().reduce(0, +), Self.warmUp / 1000)
    }
  }

  /// Weights of twice what the cache holds, where so much is free, and a picture; false where the GPU is
  /// full: a model has to fit without.
  private func makeNumbers(_ weightBytes: Int, _ pictureBytes: Int) throws -> Bool {
    let wanted = try max(
      weightBytes + 255, min(2 * stream.context.device.cache, stream.context.memoryInfo().free / 8))
    weights = try numbers(wanted, in: weights)
    pictures = try numbers(pictureBytes, in: pictures)
    return weights != nil && pictures != nil
  }

  /// `known`, where it is large enough, or new memory full of drawn numbers.
  private func numbers(_ byteCount: Int, in known: DeviceBuffer?) throws -> DeviceBuffer? {
    if let known, known.byteCount >= byteCount { return known }
    guard try stream.context.memoryInfo().free > 2 * byteCount else { return nil }
    let new = try DeviceBuffer(stream.context, byteCount)
    let drawn = Self.drawn
    let uploader = try Uploader(stream)
    var filled = min(drawn.count, new.byteCount)
    try drawn.withUnsafeBytes {
      try uploader.upload(UnsafeRawBufferPointer(rebasing: $0[..<filled]), to: new.address)
    }
    while filled < new.byteCount {
      let count = min(filled, new.byteCount - filled)
      try stream.copy(new.address, to: new.address + UInt64(filled), count)
      filled += count
    }
    try stream.synchronize("numbers to time products with")
    return new
  }

  /// Bits that are numbers of moderate size in f16, in bf16 and, both bytes, in e4m3; more of them than any
  /// row has.
  private static let drawn: [UInt8] = {
    var state: UInt32 = 1
    return (0..<1 << 20).map { place in
      state = state &* 1_664_525 &+ 1_013_904_223
      let bits = UInt8(truncatingIfNeeded: state >> 24)
      return place % 2 == 0 ? bits & 0xf7 : bits & 0x87 | 0x38
    }
  }()
}
