import Engine

/// Repaints pictures and watches how large each channel becomes that a product of the UNet reads.
public final class Calibration {
  /// The model as it is, to be fed with pictures and settings; after each `run` comes `watch`.
  public let pipeline: Pipeline
  let groups: [QuantizedGroup]
  /// The largest absolute value of each channel, by the number of the group.
  private(set) var peaks: [[Float]]

  public init(
    model: ModelFolder, options: Pipeline.Options, backend: any Backend,
    progress: (String, Double) -> Void = { _, _ in }
  ) throws {
    guard !model.isInt8 else {
      throw DiffusionError(
        .usage, path: model.path, "has weights of eight bits already",
        remedy: "Give the folder that it was made from.")
    }
    var groups: [QuantizedGroup] = []
    pipeline = try Pipeline(model: model, options: options, backend: backend, progress: progress) { graph in
      groups = QuantizedLayer.groups(QuantizedLayer.find(in: graph))
      for input in Set(groups.flatMap(\.inputs)) {
        graph.output(Self.output(input), graph.peaks(input))
      }
    }
    self.groups = groups
    peaks = Array(repeating: [], count: groups.count)
  }

  private static func output(_ value: Value) -> String { "peaks.\(value.index)" }

  /// Takes note of the last run.
  public func watch() throws {
    for (index, group) in groups.enumerated() {
      for input in group.inputs {
        let found = try pipeline.withOutput(Self.output(input)) { ElementCodec.decode($0, .f32) }
        peaks[index] = peaks[index].isEmpty ? found : zip(peaks[index], found).map(max)
      }
    }
  }
}
