import Base
import Diffusion
import Glibc
import TestSupport
import Testing

/// Where to compute: what is found, what is missing, and what then happens. None of it needs a GPU.
struct DeviceTests {
  private let noDriver = ["TURBOCAM_LIBCUDA": "/nonexistent/libcuda.so.1"]
  private let sdTiny = Program.checkout + "/Fixtures/parity/sd-tiny"
  private let picture = Program.checkout + "/Fixtures/pictures/styles.jpg"

  @Test(arguments: ["cuda", "cuda:1"])
  func aGPUThatWasAskedForMustBeThere(device: String) throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      "image", picture, "--output", folder.file("a.png"), "--device", device, with: noDriver)
    #expect(result.code == 69)
    #expect(result.errors.contains("NVIDIA's driver cannot be used: /nonexistent/libcuda.so.1 not found"))
    #expect(result.errors.contains("--device cpu"))
    #expect(result.errors.split(separator: "\n").count == 1)
  }

  @Test func otherwiseTheProcessorDoes() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      "image", picture, "--output", folder.file("a.png"), "--device", "auto", with: noDriver)
    #expect(result.code == 0, "\(result.errors)")
    #expect(folder.names == ["a.png"])
  }

  /// A file that is no library is not taken for one.
  @Test func aDriverThatIsNoneIsRefused() throws {
    let result = try Program.run(
      "image", picture, "--output", "/tmp/never.png", "--device", "cuda", with: ["TURBOCAM_LIBCUDA": picture])
    #expect(result.code == 69)
    #expect(result.errors.contains("styles.jpg"))
  }

  /// On the simulated driver, whose third frame loses the GPU: the outputs go on when it is there again.
  @Test func aLostGPUIsHadAgain() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      "run", "--device", "cuda", "--input", "test", "--model", sdTiny, "--size", "64x64", "--frames", "5",
      "--output", folder.file("a.mjpeg"), with: Program.simulatedGPU(["FAULT": "replay@3=700"]),
      seconds: 240)
    #expect(result.code == 0, "\(result.errors)")
    #expect(result.errors.contains("the GPU stopped working"))
    #expect(result.errors.contains("5 frames"), "\(result.errors)")
  }

  /// Two GPUs repaint a clip in turns: the same pictures in the same order as one makes.
  @Test func severalGPUsTakeTurns() throws {
    let folder = try TemporaryFolder()
    func run(_ device: String, _ name: String) throws -> Program.Result {
      try Program.run(
        "run", "--device", device, "--input", RunTests.clip, "--model", sdTiny, "--size", "64x64",
        "--frames", "7", "--output", folder.file(name), with: Program.simulatedGPU(["DEVICES": "2"]),
        seconds: 240)
    }
    for (device, name) in [("cuda:1", "one.mjpeg"), ("cuda:0,1", "both.mjpeg")] {
      let result = try run(device, name)
      #expect(result.code == 0 && result.errors.contains("7 frames"), "\(result.errors)")
    }
    #expect(try readFile(folder.file("both.mjpeg")) == readFile(folder.file("one.mjpeg")))
    let missing = try run("cuda:1,2", "none.mjpeg")
    #expect(missing.code == 69)
    #expect(missing.errors.contains("there is no GPU 2"), "\(missing.errors)")
  }

  /// On a card whose kernels may begin before the one before them has ended, whether the driver takes it (every one of
  /// them has to wait then) or refuses: the clip of a card that knows nothing of it. A GPU that is lost at such a launch
  /// shows that there are any.
  @Test func kernelsThatBeginEarlyMakeTheSamePictures() throws {
    let folder = try TemporaryFolder()
    func run(_ name: String, arch: String, fault: String, overlap: String = "1") throws -> Program.Result {
      try Program.run(
        "run", "--device", "cuda", "--input", RunTests.clip, "--model", sdTiny, "--size", "64x64",
        "--frames", "3", "--output", folder.file(name),
        with: Program.simulatedGPU(["ARCH": arch, "FAULT": fault], ["TURBOCAM_OVERLAP": overlap]),
        seconds: 400)
    }
    for (name, arch, fault) in [
      ("plain.mjpeg", "80", "overlap=719"), ("early.mjpeg", "90", ""),
      ("refused.mjpeg", "90", "overlap@9=801"),
    ] {
      let result = try run(name, arch: arch, fault: fault)
      #expect(result.code == 0 && result.errors.contains("3 frames"), "\(name): \(result.errors)")
    }
    #expect(try readFile(folder.file("early.mjpeg")) == readFile(folder.file("plain.mjpeg")))
    #expect(try readFile(folder.file("refused.mjpeg")) == readFile(folder.file("plain.mjpeg")))
    let off = try run("off.mjpeg", arch: "90", fault: "overlap=719", overlap: "0")
    #expect(off.code == 0, "\(off.errors)")
    #expect(try readFile(folder.file("off.mjpeg")) == readFile(folder.file("plain.mjpeg")))
    let lost = try run("lost.mjpeg", arch: "90", fault: "overlap@9=719")
    #expect(lost.errors.contains("the GPU stopped working"))
  }

  /// Linear layers of eight bits: the bench tells what they change of a picture, and a card without them is told of.
  @Test func eightBitsTellTheirLoss() throws {
    func run(_ variables: [String: String], _ words: String...) throws -> Program.Result {
      let model = Program.checkout + "/Fixtures/parity/sdxl-tiny"
      let bench = ["bench", "--suite", "model", "--json", "--linears", "f8", "--size", "64x64"]
      return try Program.start(bench + ["--model", model] + words, with: variables).wait(seconds: 400)
    }
    let result = try run(Program.simulatedGPU(["ARCH": "90"]), "--device", "cuda")
    #expect(result.code == 0, "\(result.errors)")
    let loss = try JSON.parse(result.output).object?["model"]?.object?["loss"]?.object
    let psnr = try #require(loss?["psnr_db"]?.double)
    #expect(psnr > 25 && psnr < 90, "\(psnr)")
    let refused = try run(Program.simulatedGPU(["ARCH": "89"]), "--device", "cuda")
    #expect(refused.code == 69)
    #expect(refused.errors.contains("need a Hopper"), "\(refused.errors)")
    let old = try run(Program.simulatedGPU(["ARCH": "90", "NVRTC": "11080"]), "--device", "cuda")
    #expect(old.code == 69)
    #expect(old.errors.contains("NVRTC of CUDA 12"), "\(old.errors)")
    let without = try run(noDriver)
    #expect(without.code == 0 && without.errors.contains("--linears are for a GPU"), "\(without.errors)")
    let told = try JSON.parse(without.output).object?["model"]?.object
    #expect(told != nil && told?["loss"] == nil)
  }

  /// Where NVRTC is missing, kernels compiled beforehand do; without them it says what is missing.
  @Test func kernelsCompiledBeforehandNeedNoNVRTC() throws {
    let folder = try TemporaryFolder()
    // Kept among the build's files: a second run compiles only what changed.
    let kernels = Simulator.products + "/simulated-kernels"
    let made = try Program.run(
      "kernels", "--output", kernels, with: Program.simulatedGPU(), seconds: 900)
    #expect(made.code == 0, "\(made.errors)")
    func paint(_ more: [String: String]) throws -> Program.Result {
      let none = ["TURBOCAM_LIBNVRTC": "/nonexistent/libnvrtc.so", "TURBOCAM_CACHE": folder.path]
      return try Program.run(
        "text", "--model", sdTiny, "--size", "64x64", "--device", "cuda", "--output", folder.file("a.png"),
        with: Program.simulatedGPU([:], none.merging(more) { $1 }), seconds: 120)
    }
    let without = try paint([:])
    #expect(without.code == 69)
    #expect(without.errors.contains("NVRTC cannot be used"))
    let with = try paint(["TURBOCAM_KERNELS": kernels])
    #expect(with.code == 0, "\(with.errors)")
    #expect(folder.names.contains("a.png"))
    // They do as well where NVRTC is there and its code would not load.
    let newer = try paint([
      "TURBOCAM_KERNELS": kernels, "TURBOCAM_CACHE": folder.file("cache"),
      "TURBOCAM_SIMULATOR_NVRTC": "13000",
      "TURBOCAM_LIBNVRTC": try #require(Program.simulatedGPU()["TURBOCAM_LIBNVRTC"]),
    ])
    #expect(newer.code == 0, "\(newer.errors)")
  }

  /// A driver does not load what a compiler of a later major version made, and one of its own it does.
  @Test(arguments: ["13000": 69, "12090": 0])
  func anNVRTCNewerThanTheDriverIsRefused(version: String, code: Int32) throws {
    let folder = try TemporaryFolder()
    let words = ["--device", "cuda", "--model", sdTiny, "--size", "64x64", "--output", folder.file("a.png")]
    let result = try Program.start(
      ["text"] + words, with: Program.simulatedGPU(["NVRTC": version, "DRIVER": "12040"])
    ).wait(seconds: 120)
    #expect(result.code == code, "\(result.errors)")
    #expect(result.errors.contains("NVRTC 13.0") == (code != 0))
    #expect(result.errors.contains("newer than the driver, which is for CUDA 12.4") == (code != 0))
    #expect(folder.names == (code == 0 ? ["a.png"] : []))
  }

  /// A damaged cache of kernels, and none that can be written, cost time and nothing else.
  @Test func aDamagedKernelCacheIsMadeAnew() throws {
    let folder = try TemporaryFolder()
    func paint(_ cache: String, _ name: String) throws -> [UInt8] {
      let result = try Program.run(
        "text", "--model", sdTiny, "--size", "64x64", "--device", "cuda", "--output", folder.file(name),
        with: Program.simulatedGPU([:], ["TURBOCAM_CACHE": cache]), seconds: 120)
      #expect(result.code == 0, "\(result.errors)")
      return try readFile(folder.file(name))
    }
    let cache = folder.file("cache")
    let kernels = cache + "/kernels"
    let picture = try paint(cache, "a.png")
    let made = try #require(names(in: kernels))
    #expect(made.count > 5)
    for (index, name) in made.enumerated() {
      var bytes = try readFile("\(kernels)/\(name)")
      switch index % 3 {
      case 0: bytes = Array(bytes.dropLast(bytes.count / 2))
      case 1: bytes[bytes.count - 100] ^= 1
      default: bytes = []
      }
      try writeFile("\(kernels)/\(name)", bytes)
    }
    #expect(try paint(cache, "b.png") == picture)
    #expect(names(in: kernels) == made)
    for name in made { #expect(try readFile("\(kernels)/\(name)").count > 1000, "\(name) was made anew") }
    #expect(try paint("/dev/null/nowhere", "c.png") == picture)
  }

  @Test func whatIsMissingIsListed() throws {
    let missing = [
      "TURBOCAM_LIBCUDA": "/nonexistent/libcuda.so.1", "TURBOCAM_LIBNVRTC": "/nonexistent/a",
      "TURBOCAM_LIBCUBLASLT": "/nonexistent/b",
    ]
    let devices = try Program.run("devices", "--json", with: missing)
    #expect(devices.code == 0)
    let cuda = try #require(try JSON.parse(devices.output).object?["cuda"]?.object)
    for name in ["driver", "nvrtc", "cublaslt"] {
      let part = try #require(cuda[name]?.object)
      #expect(part["path"]?.isNull == true)
      #expect(part["problem"]?.string?.contains("/nonexistent/") == true, "\(name)")
      #expect(part["remedy"]?.string?.contains("apt-get install") == true, "\(name)")
    }
    let doctor = try Program.run("doctor", with: missing)
    // Who has no card is not told to install its driver.
    let hasCard = doctor.text.contains("without a driver that works")
    for line in ["NVIDIA driver: ", "NVRTC: ", "cuBLASLt: "] {
      #expect(doctor.text.contains(line) == hasCard)
    }
    let device = try #require(doctor.text.split(separator: "\n").first { $0.contains("computes on") })
    #expect(device.contains("CPU, ") && device.contains("/nonexistent/libcuda.so.1") == hasCard)
  }
}
