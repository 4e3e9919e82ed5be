import Engine

/// Rounds a UNet's products to eight bits, weights by filter and inputs by channel.
///
/// A channel's inputs are counted in steps input_scale[c], and its weights made larger by as much; then
/// weights are counted in steps weight_scale[k]:
///
///     x8[c] = round(x[c] / input_scale[c])      W8[k, c] = round(W[k, c] · input_scale[c] / weight_scale[k])
///
/// How much of a channel's size goes to the weights is SmoothQuant's choice (Xiao et al. 2022, arXiv
/// 2211.10438, equation 4): in proportion to √(max|x[c]| / max|W[·, c]|), so that what is hard in the one is
/// shared with the other.
struct Quantizer {
  private let checkpoint: Checkpoint
  private let groups: [QuantizedGroup]
  private let peaks: [[Float]]
  /// Of the numbers of eight bits; -128 is not used.
  private static let largestStep: Float = 127

  init(_ checkpoint: Checkpoint, _ calibration: Calibration) {
    self.checkpoint = checkpoint
    groups = calibration.groups
    peaks = calibration.peaks
  }

  /// Number of products that are rounded.
  var count: Int { groups.reduce(0) { $0 + $1.members.count } }

  /// Writes all of the component's tensors: those of the products rounded, others as they are.
  func write(to path: String, metadata: KeyValuePairs<String, JSON>, progress: (Double) -> Void) throws {
    let rounded = Set(groups.flatMap { $0.members.map { $0 + ".weight" } })
    let others = checkpoint.names.filter { !rounded.contains($0) }.sorted()
    let writer = try SafetensorsWriter(
      path: path, try others.map { SafetensorsWriter.Tensor(try record($0)) } + groups.flatMap(announced),
      metadata: metadata)
    for name in others {
      _ = try checkpoint.withBytes(of: name) { try writer.write(name, $0) }
    }
    for (index, group) in groups.enumerated() {
      try write(group, peaks[index], writer)
      progress(Double(index + 1) / Double(groups.count))
    }
    try writer.finish()
  }

  // MARK: Header

  private func announced(_ group: QuantizedGroup) throws -> [SafetensorsWriter.Tensor] {
    var tensors: [SafetensorsWriter.Tensor] = []
    func floats(_ name: String, _ count: Int) {
      tensors.append(SafetensorsWriter.Tensor(name: name, dtype: "F32", shape: [count], byteCount: 4 * count))
    }
    floats(group.scaleName, try record(group.members[0] + ".weight").shape[1])
    for name in group.members {
      let shape = try record(name + ".weight").shape
      tensors.append(
        SafetensorsWriter.Tensor(
          name: name + ".weight", dtype: "I8", shape: shape, byteCount: shape.reduce(1, *)))
      floats(name + "." + Int8Weights.scaleName, shape[0])
    }
    return tensors
  }

  private func record(_ name: String) throws -> SafetensorsRecord {
    guard let record = checkpoint[name] else { throw EngineError.missingWeight("unet/" + name) }
    return record
  }

  // MARK: Rounding

  private func write(_ group: QuantizedGroup, _ peaks: [Float], _ writer: SafetensorsWriter) throws {
    let weights = try group.members.map { try matrix($0 + ".weight") }
    let scale = Self.inputScale(peaks, weights)
    try scale.withUnsafeBytes { try writer.write(group.scaleName, $0) }
    for (name, weight) in zip(group.members, weights) {
      let (bytes, steps) = Self.round(weight, scale)
      try bytes.withUnsafeBytes { try writer.write(name + ".weight", $0) }
      try steps.withUnsafeBytes { try writer.write(name + "." + Int8Weights.scaleName, $0) }
    }
  }

  /// A weight as f32 `[K, C, taps]`.
  struct Matrix {
    var filters, channels, taps: Int
    var floats: [Float]
  }

  private func matrix(_ name: String) throws -> Matrix {
    let record = try record(name)
    guard let type = record.type,
      let floats = try checkpoint.withBytes(of: name, { ElementCodec.decode($0, type.element) })
    else { throw EngineError.missingWeight("unet/" + name) }
    return Matrix(
      filters: record.shape[0], channels: record.shape[1], taps: record.shape.dropFirst(2).reduce(1, *),
      floats: floats)
  }

  /// Steps in which each channel is counted: √(peak / largest weight), in such a measure that the largest of
  /// all inputs is 127 steps. A channel that was never above zero is taken for a thousandth of the largest.
  static func inputScale(_ peaks: [Float], _ weights: [Matrix]) -> [Float] {
    var columns = [Float](repeating: 0, count: peaks.count)
    for weight in weights {
      for (index, x) in weight.floats.enumerated() {
        let channel = index / weight.taps % weight.channels
        if abs(x) > columns[channel] { columns[channel] = abs(x) }
      }
    }
    let (activationMax, weightMax) = (raised(peaks), raised(columns))
    let ratio = zip(activationMax, weightMax).map { ($0 / $1).squareRoot() }
    let size = zip(activationMax, ratio).map { $0 / $1 }.max() ?? 1
    return ratio.map { $0 * size / largestStep }
  }

  /// What is finite, and at least a thousandth of the largest.
  private static func raised(_ x: [Float]) -> [Float] {
    let largest = x.filter(\.isFinite).max() ?? 0
    let least = largest > 0 ? largest / 1000 : 1
    return x.map { $0.isFinite ? max($0, least) : largest }
  }

  /// The weights in steps of each filter, and those steps.
  static func round(_ weight: Matrix, _ inputScale: [Float]) -> (bytes: [Int8], steps: [Float]) {
    let length = weight.channels * weight.taps
    var bytes = [Int8](repeating: 0, count: weight.floats.count)
    var steps = [Float](repeating: 1, count: weight.filters)
    for filter in 0..<weight.filters {
      let grown = (0..<length).map { weight.floats[filter * length + $0] * inputScale[$0 / weight.taps] }
      let largest = grown.reduce(0) { max($0, abs($1)) }
      let step = largest / largestStep
      // Steps of denormal numbers could be zero; filters of so little are.
      guard step.isFinite, step >= .leastNormalMagnitude else { continue }
      steps[filter] = step
      // What is no number becomes zero.
      for (index, x) in grown.enumerated() where x.isFinite {
        bytes[filter * length + index] = Int8(
          min(max(x / step, -largestStep), largestStep).rounded(.toNearestOrEven))
      }
    }
    return (bytes, steps)
  }
}
