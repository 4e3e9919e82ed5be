import CUDABackend
import Diffusion
import Filter

/// `turbocam bench`: what each station of a frame and each stage of a model takes, and what they could take
/// at best on this machine.
struct BenchCommand: Subcommand {
  static let name = "bench"
  static let summary = "Measure every stage against this machine's own peak."
  static let synopsis = "[--suite NAME]... [--json] [OPTIONS]"
  /// All but `cpu`, which takes minutes and gigabytes, run where none is named.
  static let suites = ["start", "live", "pass", "model"]
  static let allSuites = suites + ["cpu"]
  static let options =
    [
      Option(
        "suite", "NAME",
        """
        start: from the start of the program to the first picture
        live: camera (the test pattern as MJPEG) to web stream
        pass: the same at 1280x720 with --model none
        model: the model alone, by its stages and by kinds of op
        cpu: the embedded model at 256x256 and 512x512, and models of SD-Turbo's and SDXL-Turbo's size at \
        512x512, on the processor; minutes, and 7 GB of memory
        (default: all but cpu)
        """
      ),
      Option(
        "predict", "CARD",
        """
        measure nothing; calculate what a frame takes with --device cuda on a card that need not be there: \
        \(cards)
        """
      ),
      Option("ops", nil, "with model and cpu: every op by its shapes too, the slowest first"),
      Option("seconds", "N", "how long live and pass run (default 10)"),
      Option("json", nil, "one JSON object on standard output"),
    ] + ModelOptions.options

  private let suites: [String]
  private let seconds: Int
  private let json: Bool
  private let tellsOps: Bool
  private let model: ModelOptions
  private let card: Card?

  private static var cards: String { Card.known.map(\.name).joined(separator: ", ") }

  init(_ arguments: Arguments) throws {
    try arguments.expectOperands([])
    let named = arguments.all("suite")
    for name in named where !Self.allSuites.contains(name) {
      throw arguments.fail("--suite must be \(Self.allSuites.joined(separator: ", ")), not '\(name)'")
    }
    suites = named.isEmpty ? Self.suites : Self.allSuites.filter(named.contains)
    seconds = try arguments.integer("seconds", in: 1...3600) ?? 10
    json = arguments.has("json")
    tellsOps = arguments.has("ops")
    model = try ModelOptions(arguments)
    card = try Self.card(arguments, model.device)
    guard !model.isNone else { throw arguments.fail("--model none has nothing to measure; see --suite pass") }
  }

  private static func card(_ arguments: Arguments, _ device: Device) throws(UsageError) -> Card? {
    guard let name = arguments.last("predict") else { return nil }
    guard let card = Card.known.first(where: { $0.name.lowercased() == name.lowercased() }) else {
      throw arguments.fail("--predict must be one of \(cards), not '\(name)'")
    }
    guard device != .cpu else { throw arguments.fail("--predict calculates for --device cuda") }
    for name in ["suite", "seconds", "ops"] where arguments.has(name) {
      throw arguments.fail("--predict measures nothing, so --\(name) is not for it")
    }
    return card
  }

  func run() throws -> Int32 {
    let folder = try model.open()
    if let card {
      let result = try PredictBench(folder, model, card).run()
      try Terminal.print(json ? result.text : result.table)
      return 0
    }
    let machine = try Machine(model.chooseDevice(for: folder).backend)
    var results: [JSONObject.Member] = []
    for suite in suites {
      Terminal.say("turbocam bench: \(suite)")
      results.append(JSONObject.Member(name: suite, value: try measure(suite, folder, machine)))
    }
    let head = JSONObject.Member(name: "machine", value: try machine.json)
    let result = JSON.object(JSONObject([head] + results))
    try Terminal.print(json ? result.text : result.table)
    return 0
  }

  private func measure(_ suite: String, _ folder: ModelFolder, _ machine: Machine) throws -> JSON {
    switch suite {
    case "start": return try StartBench(model).run()
    case "live": return try LiveBench(machine, seconds: seconds).repainting(folder, model)
    case "cpu": return try SizesBench(model, tellsOps: tellsOps).run()
    case "pass": return try LiveBench(machine, seconds: seconds).passing()
    default: return try ModelBench(folder, model, machine, tellsOps: tellsOps).run()
    }
  }
}
