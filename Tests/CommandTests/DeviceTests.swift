import Diffusion
import Glibc
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

  /// On the simulated driver, whose third frame loses the GPU: the outputs go on when it is there again.
  @Test func aLostGPUIsHadAgain() throws {
    let folder = try Folder()
    let library = Program.path.dropLast("turbocam".count) + "libcuda-simulator.so"
    let result = try Running(
      "/usr/bin/env",
      [
        "TURBOCAM_LIBCUDA=\(library)", "TURBOCAM_LIBNVRTC=\(library)", "TURBOCAM_TUNING=0",
        "TURBOCAM_CACHE=\(library)-cache",
        "TURBOCAM_SIMULATOR_FAULT=replay@3=700", Program.path, "run", "--device", "cuda", "--input", "test",
        "--model", Program.checkout + "/Fixtures/parity/sd-tiny", "--size", "64x64", "--frames", "5",
        "--output", folder.file("a.mjpeg"),
      ]
    ).wait(seconds: 240)
    #expect(result.code == 0, "\(result.errors)")
    #expect(result.errors.contains("the GPU stopped working"))
    #expect(result.errors.contains("5 frames"), "\(result.errors)")
  }

  /// Two GPUs repaint a clip in turns: the same pictures in the same order as one makes.
  @Test func severalGPUsTakeTurns() throws {
    let folder = try Folder()
    let library = Program.path.dropLast("turbocam".count) + "libcuda-simulator.so"
    func run(_ device: String, _ name: String) throws -> Program.Result {
      try Running(
        "/usr/bin/env",
        [
          "TURBOCAM_LIBCUDA=\(library)", "TURBOCAM_LIBNVRTC=\(library)", "TURBOCAM_TUNING=0",
          "TURBOCAM_CACHE=\(library)-cache", "TURBOCAM_SIMULATOR_DEVICES=2", Program.path, "run", "--device",
          device, "--input", RunTests.clip, "--model", Program.checkout + "/Fixtures/parity/sd-tiny",
          "--size",
          "64x64", "--frames", "7", "--output", folder.file(name),
        ]
      ).wait(seconds: 240)
    }
    for (device, name) in [("cuda:1", "one.mjpeg"), ("cuda:0,1", "both.mjpeg")] {
      let result = try run(device, name)
      #expect(result.code == 0 && result.errors.contains("7 frames"), "\(result.errors)")
    }
    #expect(try read(folder.file("both.mjpeg")) == read(folder.file("one.mjpeg")))
    let missing = try run("cuda:1,2", "none.mjpeg")
    #expect(missing.code == 69)
    #expect(missing.errors.contains("there is no GPU 2"), "\(missing.errors)")
  }

  /// On a card whose kernels may begin before the one before them has ended, whether the driver takes it (every one of
  /// them has to wait then) or refuses: the clip of a card that knows nothing of it. A GPU that is lost at such a launch
  /// shows that there are any.
  @Test func kernelsThatBeginEarlyMakeTheSamePictures() throws {
    let folder = try Folder()
    let library = Program.path.dropLast("turbocam".count) + "libcuda-simulator.so"
    func run(_ name: String, _ settings: String...) throws -> Program.Result {
      try Running(
        "/usr/bin/env",
        settings.map { "TURBOCAM_SIMULATOR_" + $0 } + [
          "TURBOCAM_LIBCUDA=\(library)", "TURBOCAM_LIBNVRTC=\(library)", "TURBOCAM_TUNING=0",
          "TURBOCAM_CACHE=\(library)-cache", Program.path, "run", "--device", "cuda", "--input",
          RunTests.clip,
          "--model", Program.checkout + "/Fixtures/parity/sd-tiny", "--size", "64x64", "--frames", "3",
          "--output", folder.file(name),
        ]
      ).wait(seconds: 400)
    }
    for (name, settings) in [
      ("plain.mjpeg", ["ARCH=80", "FAULT=overlap=719"]), ("early.mjpeg", ["ARCH=90", "FAULT="]),
      ("refused.mjpeg", ["ARCH=90", "FAULT=overlap@9=801"]),
    ] {
      let result = try run(name, settings[0], settings[1])
      #expect(result.code == 0 && result.errors.contains("3 frames"), "\(name): \(result.errors)")
    }
    #expect(try read(folder.file("early.mjpeg")) == read(folder.file("plain.mjpeg")))
    #expect(try read(folder.file("refused.mjpeg")) == read(folder.file("plain.mjpeg")))
    #expect(
      try run("lost.mjpeg", "ARCH=90", "FAULT=overlap@9=719").errors.contains("the GPU stopped working"))
  }

  /// Linear layers of eight bits: the bench tells what they change of a picture, and a card without them is told of.
  @Test func eightBitsTellTheirLoss() throws {
    let library = Program.path.dropLast("turbocam".count) + "libcuda-simulator.so"
    func run(_ arch: Int) throws -> Program.Result {
      try Running(
        "/usr/bin/env",
        [
          "TURBOCAM_LIBCUDA=\(library)", "TURBOCAM_LIBNVRTC=\(library)", "TURBOCAM_TUNING=0",
          "TURBOCAM_CACHE=\(library)-cache", "TURBOCAM_SIMULATOR_ARCH=\(arch)", Program.path, "bench",
          "--suite", "model", "--json", "--device", "cuda", "--linears", "f8", "--size", "64x64", "--model",
          Program.checkout + "/Fixtures/parity/sdxl-tiny",
        ]
      ).wait(seconds: 400)
    }
    let result = try run(90)
    #expect(result.code == 0, "\(result.errors)")
    let loss = try JSON.parse(result.output).object?["model"]?.object?["loss"]?.object
    let psnr = try #require(loss?["psnr_db"]?.double)
    #expect(psnr > 25 && psnr < 90, "\(psnr)")
    let refused = try run(89)
    #expect(refused.code == 69)
    #expect(refused.errors.contains("need a Hopper"), "\(refused.errors)")
    let without = try Running(
      "/usr/bin/env",
      [
        "TURBOCAM_LIBCUDA=/nonexistent", Program.path, "bench", "--suite", "model", "--json", "--linears",
        "f8", "--size", "64x64", "--model", Program.checkout + "/Fixtures/parity/sdxl-tiny",
      ]
    ).wait(seconds: 100)
    #expect(without.code == 0 && without.errors.contains("--linears are for a GPU"), "\(without.errors)")
    let told = try JSON.parse(without.output).object?["model"]?.object
    #expect(told != nil && told?["loss"] == nil)
  }

  /// Where NVRTC is missing, kernels compiled beforehand do; without them it says what is missing.
  @Test func kernelsCompiledBeforehandNeedNoNVRTC() throws {
    let folder = try Folder()
    let library = Program.path.dropLast("turbocam".count) + "libcuda-simulator.so"
    let driver = "TURBOCAM_LIBCUDA=\(library)"
    // Kept among the build's files: a second run compiles only what changed.
    let kernels = Program.path.dropLast("turbocam".count) + "simulated-kernels"
    let made = try Running(
      "/usr/bin/env",
      [driver, "TURBOCAM_LIBNVRTC=\(library)", Program.path, "kernels", "--output", String(kernels)]
    ).wait(seconds: 900)
    #expect(made.code == 0, "\(made.errors)")
    let missing = "TURBOCAM_LIBNVRTC=/nonexistent/libnvrtc.so"
    let cache = "TURBOCAM_CACHE=\(folder.path)"
    let words = [
      "text", "--model", Program.checkout + "/Fixtures/parity/sd-tiny", "--size", "64x64", "--device", "cuda",
      "--output", folder.file("a.png"),
    ]
    let without = try Running(
      "/usr/bin/env", [driver, missing, cache, "TURBOCAM_TUNING=0", Program.path] + words
    ).wait(
      seconds: 60)
    #expect(without.code == 69)
    #expect(without.errors.contains("NVRTC cannot be used"))
    let with = try Running(
      "/usr/bin/env",
      [driver, missing, cache, "TURBOCAM_TUNING=0", "TURBOCAM_KERNELS=\(kernels)", Program.path] + words
    ).wait(seconds: 120)
    #expect(with.code == 0, "\(with.errors)")
    #expect(folder.names.contains("a.png"))
  }

  /// A damaged cache of kernels, and none that can be written, cost time and nothing else.
  @Test func aDamagedKernelCacheIsMadeAnew() throws {
    let folder = try Folder()
    func paint(_ cache: String, _ name: String) throws -> [UInt8] {
      let library = Program.path.dropLast("turbocam".count) + "libcuda-simulator.so"
      let result = try Running(
        "/usr/bin/env",
        [
          "TURBOCAM_LIBCUDA=\(library)", "TURBOCAM_LIBNVRTC=\(library)", "TURBOCAM_TUNING=0",
          "TURBOCAM_CACHE=\(cache)",
          Program.path,
          "text", "--model", Program.checkout + "/Fixtures/parity/sd-tiny", "--size", "64x64", "--device",
          "cuda",
          "--output", folder.file(name),
        ]
      ).wait(seconds: 120)
      #expect(result.code == 0, "\(result.errors)")
      return try read(folder.file(name))
    }
    let cache = folder.file("cache")
    let kernels = Folder(path: cache + "/kernels")
    defer { rmdir(cache) }
    let picture = try paint(cache, "a.png")
    let names = kernels.names.sorted()
    #expect(names.count > 5)
    for (index, name) in names.enumerated() {
      var bytes = try read(kernels.file(name))
      switch index % 3 {
      case 0: bytes = Array(bytes.dropLast(bytes.count / 2))
      case 1: bytes[bytes.count - 100] ^= 1
      default: bytes = []
      }
      try write(bytes, to: kernels.file(name))
    }
    #expect(try paint(cache, "b.png") == picture)
    #expect(kernels.names.sorted() == names)
    for name in names { #expect(try read(kernels.file(name)).count > 1000, "\(name) was made anew") }
    #expect(try paint("/dev/null/nowhere", "c.png") == picture)
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
