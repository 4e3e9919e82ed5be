import CPUBackend
import Glibc
import TestSupport
import Testing

/// `turbocam quantize`, as a person uses it.
@Suite(.serialized, .enabled(if: CPUBackend.hasInt8)) struct QuantizeTests {
  @Test func theFolderRepaintsAsTheModelDoes() throws {
    let folder = try TemporaryFolder()
    let made = folder.file("spark8")
    // As one that was interrupted leaves it.
    #expect(mkdir(made, 0o755) == 0)
    let result = try Program.run(
      "quantize", "spark", "--frames", RunTests.clip, "--output", made, "--size", "128x128", "--pictures",
      "4",
      "--prompt", "ink drawing", seconds: 120)
    #expect(result.code == 0, "\(result.errors)")
    // It tells what is lost, which is little.
    let output = String(decoding: result.output, as: UTF8.self)
    let psnr = try #require(output.firstMatch(of: /PSNR (\d+\.\d) dB, structural similarity (\d\.\d+)/))
    #expect(try #require(Double(psnr.1)) > 40)
    #expect(try #require(Double(psnr.2)) > 0.98)
    #expect(output.contains("turbocam --model '\(made)'"))
    let record = String(decoding: try readFile(made + "/unet/config.json"), as: UTF8.self)
    #expect(record.contains("\"pictures\":2") && record.contains("\"psnr\":\(psnr.1.prefix(1))"))

    // Left to us, it runs on the processor even beside a GPU, which is simulated here.
    func paint(_ device: String) throws -> Program.Result {
      try Program.run(
        "image", RunTests.clip, "--model", made, "--size", "128x128", "--device", device,
        "--output", folder.file("\(device).png"), with: Program.simulatedGPU(), seconds: 120)
    }
    let painted = try paint("auto")
    #expect(painted.code == 0, "\(painted.errors)")
    #expect(try Film(folder.file("auto.png")).size == "128,128")
    let refused = try paint("cuda")
    #expect(refused.code == 78)
    #expect(refused.errors.contains("eight bits"), "\(refused.errors)")

    let again = try Program.run(
      "quantize", made, "--frames", RunTests.clip, "--output", folder.file("again"), "--pictures", "1")
    #expect(again.code == 64)
    #expect(again.errors.contains("already"))
    #expect(!folder.names.contains("again"))
  }
}
