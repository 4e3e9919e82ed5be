import Diffusion
import Testing

/// Where to compute: what is found, what is missing, and what then happens. None of it needs a GPU.
struct DeviceTests {
  /// Runs the program with these variables set.
  private func run(_ variables: [String], _ words: String...) throws -> Program.Result {
    try Running("/usr/bin/env", variables + [Program.path] + words).wait(seconds: 60)
  }
  private let noDriver = ["TURBOCAM_LIBCUDA=/nonexistent/libcuda.so.1"]
  private let picture = Program.checkout + "/Fixtures/pictures/styles.jpg"

  @Test(arguments: ["cuda", "cuda:1"])
  func aGPUThatWasAskedForMustBeThere(device: String) throws {
    let folder = try Folder()
    let result = try run(
      noDriver, "image", picture, "--output", folder.file("a.png"), "--device", device)
    #expect(result.code == 69)
    #expect(result.errors.contains("NVIDIA's driver cannot be used: /nonexistent/libcuda.so.1 not found"))
    #expect(result.errors.contains("--device cpu"))
    #expect(result.errors.split(separator: "\n").count == 1)
  }

  @Test func otherwiseTheProcessorDoes() throws {
    let folder = try Folder()
    let result = try run(noDriver, "image", picture, "--output", folder.file("a.png"), "--device", "auto")
    #expect(result.code == 0, "\(result.errors)")
    #expect(folder.names == ["a.png"])
  }

  /// A file that is no library is not taken for one.
  @Test func aDriverThatIsNoneIsRefused() throws {
    let result = try run(
      ["TURBOCAM_LIBCUDA=\(picture)"], "text", "--output", "/tmp/never.png", "--device", "cuda")
    #expect(result.code == 69)
    #expect(result.errors.contains("styles.jpg"))
  }

  @Test func whatIsMissingIsListed() throws {
    let missing = noDriver + ["TURBOCAM_LIBNVRTC=/nonexistent/a", "TURBOCAM_LIBCUBLASLT=/nonexistent/b"]
    let devices = try run(missing, "devices", "--json")
    #expect(devices.code == 0)
    let cuda = try #require(try JSON.parse(devices.output).object?["cuda"]?.object)
    for name in ["driver", "nvrtc", "cublaslt"] {
      let part = try #require(cuda[name]?.object)
      #expect(part["path"]?.isNull == true)
      #expect(part["problem"]?.string?.contains("/nonexistent/") == true, "\(name)")
      #expect(part["remedy"]?.string?.contains("apt-get install") == true, "\(name)")
    }
    let doctor = try run(missing, "doctor")
    for line in ["NVIDIA driver: ", "NVRTC: ", "cuBLASLt: "] { #expect(doctor.text.contains(line)) }
    let device = try #require(doctor.text.split(separator: "\n").first { $0.contains("computes on") })
    #expect(device.contains("CPU, ") && device.contains("/nonexistent/libcuda.so.1"))
  }
}
