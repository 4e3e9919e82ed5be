import Diffusion
import Filter
import Frames
import Synchronization

extension RunState {
  /// All of it, as `/state` gives it.
  var json: JSON {
    .object([
      "version": .string(Program.version),
      "status": status,
      "message": message.map { .string($0) } ?? .null,
      "input": .string(input.label),
      "outputs": .array(
        outputs.map {
          .object([
            "label": .string($0.output.label), "dropped": .integer($0.output.mailbox.dropped),
            "error": $0.error.map { .string($0) } ?? .null,
          ])
        }),
      "model": .string(model),
      "styles": .array(
        styles.map { .object(["name": .string($0.name), "prompt": .string($0.prompt)]) }),
      "device": .string(device),
      "settings": settings.current.settings.json,
      "uptime_s": .number(rounded(Double(Clock.now() - started) / 1e9, 1)),
      "fps": .object([
        "in": .number(rounded(arrivals.rate, 2)),
        "out": .number(rounded(statistics.published.read().rate, 2)),
      ]),
      "latency_ms": takesEvery ? .null : reading(statistics.latency.read()),
      "stages_ms": stages,
      "viewers": .integer(counters.viewers.load(ordering: .relaxed)),
      "counters": .object([
        "frames_in": .integer(counters.framesIn.load(ordering: .relaxed)),
        "frames_out": .integer(counters.framesOut.load(ordering: .relaxed)),
        "still": .integer(counters.still.load(ordering: .relaxed)),
        "dropped": .integer(inbox.dropped),
        "starved": .integer(counters.starved.load(ordering: .relaxed)),
        "missed": .integer(counters.missed.load(ordering: .relaxed)),
        "corrupt": .integer(counters.corrupt.load(ordering: .relaxed)),
        "reconnects": .integer(counters.reconnects.load(ordering: .relaxed)),
      ]),
      "memory_mb": .number(rounded(Double(Process.residentBytes) / 1e6, 1)),
    ])
  }

  /// The picture's; where that is well, an output that is lost.
  private var status: JSON {
    let (name, text): (String, String)
    switch (filter.current, source.current) {
    case (.loading(let what, let fraction), _): (name, text) = ("loading", "\(what) \(Int(fraction * 100))%")
    case (.trouble(let what), _): (name, text) = ("trouble", what)
    case (.live, .starting(let what)): (name, text) = ("starting", what)
    case (.live, .waiting(let what)): (name, text) = ("waiting", what)
    case (.live, .live):
      let lost = outputs.lazy.compactMap(\.error).first
      (name, text) = lost.map { ("trouble", $0) } ?? ("live", "")
    case (.live, .ended): (name, text) = ("ended", "")
    }
    return .object(["name": .string(name), "text": .string(text)])
  }

  private var stages: JSON {
    .object(
      JSONObject(
        Station.allCases.dropFirst().compactMap { station in
          let reading = statistics.stage(station).read()
          guard reading.total > 0 else { return nil }
          return JSONObject.Member(name: "\(station)", value: self.reading(reading))
        }))
  }

  private func reading(_ reading: Meter.Reading) -> JSON {
    .object([
      "p50": .number(rounded(Double(reading.p50) / 1e6, 2)),
      "p95": .number(rounded(Double(reading.p95) / 1e6, 2)),
    ])
  }
}
