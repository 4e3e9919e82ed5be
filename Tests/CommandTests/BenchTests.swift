import Diffusion
import Glibc
import Testing

/// What `bench` tells, not how fast anything was.
@Suite(.serialized) struct BenchTests {
  private static let fixture = Program.checkout + "/Fixtures/parity/sdxl-tiny"

  private func bench(_ words: String...) throws -> JSONObject {
    let result = try Program.start(["bench", "--json"] + words).wait(seconds: 180)
    #expect(result.code == 0, "\(result.errors)")
    return try #require(try JSON.parse(result.output).object)
  }

  private func number(_ object: JSONObject?, _ name: String) throws -> Double {
    try #require(object?[name]?.double, "\(name)")
  }

  /// Rows of a table, each with its time beside its floor.
  private func rows(_ suite: JSONObject, _ name: String, _ title: String) throws -> [String: JSONObject] {
    let rows = try #require(suite[name]?.array).compactMap(\.object)
    for row in rows where try number(row, "floor_ms") > 0 { try expectRatio(row) }
    return Dictionary(uniqueKeysWithValues: try rows.map { (try #require($0[title]?.string), $0) })
  }

  private func expectRatio(_ row: JSONObject) throws {
    let (time, floor) = (try number(row, "ms"), try number(row, "floor_ms"))
    let ratio = try number(row, "ratio")
    #expect(abs(ratio - time / floor) < 1e-3 * ratio, "\(time) over \(floor) is not \(ratio)")
  }

  /// Each model in a process of its own; the large ones' folders are there and of the size that is told.
  @Test func sizesAreMeasuredOneByOne() throws {
    let result = try bench("--suite", "cpu", "--size", "64x64")
    let sizes = try #require(result["cpu"]?.object)
    #expect(sizes.members.map(\.name) == ["spark 64x64"])
    let spark = try #require(sizes["spark 64x64"]?.object)
    try expectRatio(try #require(spark["frame"]?.object))
    #expect(try number(spark["memory_mb"]?.object, "peak_of_process") > 10)
    #expect(try number(spark["peak_gflops"]?.object, "f32") > 1)
    let folder = Program.checkout + "/Fixtures/sizes"
    for (name, autoencoder) in [("sd-turbo", "taesd"), ("sdxl-turbo", "taesdxl"), ("sdxl-turbo", nil)] {
      let model = try ModelFolder(
        path: "\(folder)/\(name)", autoencoder: autoencoder.map { "\(folder)/\($0)" })
      #expect(model.nativeWidth == 512 && model.isXL == name.hasPrefix("sdxl"))
    }
  }

  @Test func theModelIsToldByItsStages() throws {
    let result = try bench(
      "--suite", "model", "--model", Self.fixture, "--size", "64x64", "--steps", "2", "--ops")
    let model = try #require(result["model"]?.object)
    let frame = try #require(model["frame"]?.object)
    try expectRatio(frame)
    #expect(try number(frame, "runs") >= 3)

    let stages = try rows(model, "stages", "stage")
    #expect(Set(stages.keys) == ["encode", "denoise", "decode"])
    let settings = try rows(model, "settings_stages", "stage")
    #expect(Set(settings.keys) == ["text_encoder", "text_encoder_2", "denoise"])
    for (name, row) in stages.merging(settings, uniquingKeysWith: { a, _ in a }) {
      #expect(try number(row, "gflop") > 0, "\(name)")
      #expect(try number(row, "floor_ms") > 0, "\(name)")
    }

    for key in ["gflop", "floor_ms"] {
      let whole = try number(frame, key)
      for table in [stages, try rows(model, "kinds", "op"), try rows(model, "ops", "op")] {
        let sum = try table.values.reduce(0) { $0 + (try number($1, key)) }
        #expect(abs(sum - whole) < 1e-3 * whole, "\(key): \(sum) in parts, \(whole) in all")
      }
    }
    let times = try stages.values.reduce(0) { $0 + (try number($1, "ms")) }
    let sum = try number(frame, "stages_ms")
    #expect(abs(times - sum) < 1e-3 * sum)
    let ops = try rows(model, "ops", "op")
    #expect(ops.count > 50 && ops.keys.contains { $0.hasPrefix("linear ") })
    #expect(abs(try ops.values.reduce(0) { $0 + (try number($1, "ms")) } - sum) < 3e-2 * sum)
  }

  /// Without a driver: what a frame would take on a card.
  @Test(arguments: ["H200", "3060"]) func aFrameIsPredicted(card: String) throws {
    let result = try Program.run(
      "bench", "--json", "--device", "cuda", "--predict", card, "--model", Self.fixture,
      "--size", "128x128", with: ["TURBOCAM_LIBCUDA": "/nonexistent"])
    #expect(result.code == 0, "\(result.errors)")
    let object = try #require(try JSON.parse(result.output).object)
    let frame = try #require(object["frame"]?.object)
    #expect(object["card"]?.object?["name"]?.string == card)
    for (table, title) in [("stages", "stage"), ("kernels", "kernel")] {
      let rows = try rows(object, table, title)
      for key in ["launches", "ms", "gflop", "mb", "floor_ms"] {
        let (whole, sum) = (
          try number(frame, key), try rows.values.reduce(0) { $0 + (try number($1, key)) }
        )
        #expect(abs(sum - whole) < 1e-3 * whole, "\(key): \(sum) in parts, \(whole) in all")
      }
    }
    #expect(Set(try rows(object, "stages", "stage").keys) == ["encode", "denoise", "decode"])
    #expect(try rows(object, "kernels", "kernel")["product"] != nil)
    #expect(try number(frame, "ms") > number(frame, "floor_ms"))
  }

  /// While the whole loop is measured, and later, when nobody waits for signals any more.
  @Test func aSignalEndsIt() throws {
    let words = ["bench", "--suite", "pass"]
    let looping = try Program.start(words + ["--seconds", "600"])
    // What watches the stream starts after all that heeds signals.
    let script = "cat /proc/\(looping.process)/task/*/comm"
    for _ in 0..<6000 {
      if try Running("/bin/bash", ["-c", script]).wait().text.contains("viewer") { break }
      usleep(10_000)
    }
    looping.send(SIGTERM)
    let result = looping.wait()
    #expect(result.code == 128 + SIGTERM, "\(result.errors)")
    #expect(result.output.isEmpty)

    let later = try Program.start(words + ["--suite", "model", "--seconds", "1"])
    for _ in 0..<6000 where !later.errorsSoFar.contains("bench: model") { usleep(10_000) }
    later.send(SIGTERM)
    #expect(later.wait(seconds: 120).code == -SIGTERM)
  }

  @Test func aPassedFrameIsToldByItsStations() throws {
    let result = try bench("--suite", "pass", "--seconds", "2")
    #expect(try number(result["machine"]?.object, "copy_gb_s") > 0)
    let pass = try #require(result["pass"]?.object)
    #expect(try number(pass, "fps") > 0)
    let stages = try rows(pass, "stages", "stage")
    #expect(Set(stages.keys) == ["received", "published", "encoded", "written"])
    for name in ["received", "encoded", "written"] {
      #expect(try number(stages[name], "mb") > 0, "\(name)")
    }
    // A frame that is passed on is not copied.
    #expect(try number(stages["published"], "mb") == 0)
  }
}
