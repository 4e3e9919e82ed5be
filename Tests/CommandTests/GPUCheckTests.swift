import Diffusion
import TestSupport
import Testing

/// Tests/GPU/check on simulated GPUs that fail: what it says of them, and what it keeps.
@Suite(.enabled(if: Simulator.isReady)) struct GPUCheckTests {
  /// The exit code, and what the report says of a part.
  private func check(_ part: String, fault: String) throws -> (code: Int32, part: JSONObject) {
    let folder = try TemporaryFolder()
    let words = ["--simulated", "--only", part, "--output", folder.path]
    let result = try Running(
      "/usr/bin/python3", [Program.checkout + "/Tests/GPU/check"] + words,
      with: ["TURBOCAM_SIMULATOR_FAULT": fault, "TURBOCAM_SIMULATOR_ARCH": "80"]
    ).wait(seconds: 600)
    let report = try JSON.parse(try readFile(folder.file("report.json"))).object
    let found = try #require(report?["parts"]?.object?[part]?.object, "\(result.errors)")
    #expect(report?["passed"] == .bool(false))
    return (result.code, found)
  }

  /// A word that costs the GPU is told as failed, and the words behind it are tried in another process.
  @Test func aLostGPUCostsOneWord() throws {
    let (code, part) = try check("fragments", fault: "kernel@3=719")
    #expect(code == 1 && part["passed"] == .bool(false))
    // The third kernel of every process fails: in this order "multiply_half", "multiply_brain", "load_rows"; then, of the
    // next process, "load_columns" and twice "shuffle".
    let words = try #require(part["words"]?.object)
    for word in ["multiply_half", "load_columns", "copy_late", "convert"] {
      #expect(words[word] == .string("passed"), "\(word)")
    }
    for word in ["load_rows", "shuffle", "reverse"] {
      #expect(words[word]?.object?["error"]?.string?.contains("719") == true, "\(word)")
    }
    #expect(part["failed_cases"]?.int == 3)
  }

  /// Cases that fail are a part that fails; the number of those that passed is another thing.
  @Test func anOpThatFailsFailsItsPart() throws {
    let (code, part) = try check("ops plain", fault: "launch@9=1")
    #expect(code == 1 && part["passed"] == .bool(false))
    let (passed, failed) = (part["passed_cases"]?.int ?? 0, part["failed_cases"]?.int ?? 0)
    #expect(failed == 1 && passed > 10, "\(part)")
    #expect(part["untried"] == .number(0))
  }
}
