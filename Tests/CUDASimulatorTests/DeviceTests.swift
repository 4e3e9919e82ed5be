import CCUDA
import Glibc
import TestSupport
import Testing

extension SimulatorTests {
  /// Devices, memory, launches' checks, lost devices, and NVRTC.
  @Suite struct Devices {
    private let simulator = Simulator.shared
    private static let source = Result { try Kernels.source("wrappers.cu") }

    private func attribute(_ number: Int32, of device: Int32) throws -> Int32 {
      var value: Int32 = 0
      try Session.check(
        simulator.call("cuDeviceGetAttribute", as: tc_cuDeviceGetAttribute.self)(&value, number, device))
      return value
    }

    /// Runs a kernel of wrappers.cu, and waits.
    private func run(
      _ name: String, _ session: Session, block: Int = 1, shared: Int = 0, _ parameters: [UInt64]
    ) throws {
      let function = try session.function(name, of: Self.source.get())
      try session.launch(function, block: block, shared: shared, parameters)
      try session.synchronize()
    }

    // MARK: Devices

    @Test func devicesAreThoseOfTheSettings() throws {
      let session = try Session(["DEVICES": "3", "ARCH": "75,120", "DRIVER": "11080", "MEMORY": "1048576"])
      var count: Int32 = 0, version: Int32 = 0
      var bytes = 0
      try Session.check(simulator.call("cuDeviceGetCount", as: tc_cuDeviceGetCount.self)(&count))
      try Session.check(simulator.call("cuDriverGetVersion", as: tc_cuDriverGetVersion.self)(&version))
      try Session.check(simulator.call("cuDeviceTotalMem_v2", as: tc_cuDeviceTotalMem_v2.self)(&bytes, 2))
      #expect((count, version, bytes) == (3, 11080, 1 << 20))
      #expect(try attribute(75, of: 0) == 7 && attribute(76, of: 0) == 5)
      #expect(try attribute(75, of: 2) == 12 && attribute(76, of: 2) == 0)
      #expect(try attribute(97, of: 0) == 64 << 10)
      var name = [CChar](repeating: 0, count: 64)
      try Session.check(simulator.call("cuDeviceGetName", as: tc_cuDeviceGetName.self)(&name, 64, 1))
      #expect(name.starts(with: "Simulated GPU (sm_120)\0".utf8.map(CChar.init(bitPattern:))))
      #expect(simulator.call("cuDeviceGet", as: tc_cuDeviceGet.self)(&count, 3) == 101)
      withExtendedLifetime(session) {}
    }

    @Test func aGPUMayBeTaken() throws {
      let settings = ["DEVICES": "2", "TAKEN": "0"]
      #expect(throws: CUDAFailure(code: 46)) { try Session(settings) }
      _ = try Session(settings, device: 1)
    }

    @Test func noDevices() {
      #expect(throws: CUDAFailure(code: 100)) { try Session(["DEVICES": "0"]) }
    }

    @Test func errorsHaveNames() throws {
      var name: UnsafePointer<CChar>?
      let nameOf = simulator.call("cuGetErrorName", as: tc_cuGetErrorName.self)
      #expect(nameOf(719, &name) == 0)
      #expect(String(cString: try #require(name)) == "CUDA_ERROR_LAUNCH_FAILED")
      #expect(nameOf(12345, &name) == 1)
    }

    // MARK: Memory

    @Test func memoryEndsWhereItIsSaidTo() throws {
      let session = try Session(["MEMORY": "1048576"])
      var free = 0, total = 0
      let info = simulator.call("cuMemGetInfo_v2", as: tc_cuMemGetInfo_v2.self)
      let half = try session.allocate(1 << 19)
      try Session.check(info(&free, &total))
      #expect((free, total) == (1 << 19, 1 << 20))
      #expect(throws: CUDAFailure(code: 2)) { try session.allocate(1 << 19 + 1) }
      #expect(throws: CUDAFailure(code: 2)) { try session.allocate(.max) }
      #expect(throws: CUDAFailure(code: 1)) { try session.allocate(0) }
      try session.free(half)
      #expect(throws: CUDAFailure(code: 1)) { try session.free(half) }
      _ = try session.allocate(1 << 20)
    }

    @Test func hostMemoryEndsWhereItIsSaidTo() throws {
      let session = try Session(["HOST_MEMORY": "1048576"])
      let allocate = simulator.call("cuMemHostAlloc", as: tc_cuMemHostAlloc.self)
      var all: UnsafeMutableRawPointer?
      var more: UnsafeMutableRawPointer?
      try Session.check(allocate(&all, 1 << 20, 0))
      #expect(throws: CUDAFailure(code: 2)) { try Session.check(allocate(&more, 1, 0)) }
      try Session.check(simulator.call("cuMemFreeHost", as: tc_cuMemFreeHost.self)(all))
      withExtendedLifetime(session) {}
    }

    @Test(arguments: [4, 100, 256, 4096, 70000, 1 << 20])
    func memoryIsAlignedAndNotANumber(bytes: Int) throws {
      let session = try Session()
      let address = try session.allocate(bytes)
      #expect(address % (bytes % 256 == 0 ? 256 : 16) == 0)
      #expect(try session.download(address, Float.self, count: bytes / 4).allSatisfy(\.isNaN))
    }

    /// An access outside an allocation stays an error, with a line about it, until the context is released.
    @Test(arguments: [("store_far", 256), ("load_far", 256), ("store_far", -4096), ("load_far", 1 << 19)])
    func anAccessOutsideMemoryEndsTheContext(kernel: String, offset: Int) throws {
      do {
        let session = try Session()
        let address = try session.allocate(256)
        let parameters = [0, 0, address, UInt64(bitPattern: Int64(offset))]
        #expect(throws: CUDAFailure(code: 700)) { try run(kernel, session, parameters) }
        #expect(simulator.report.contains("\(kernel), block (0, 0, 0), thread (0, 0, 0): illegal address"))
        if offset == 256 { #expect(simulator.report.contains("0 bytes behind the 256 bytes at")) }
        #expect(throws: CUDAFailure(code: 700)) { try session.allocate(16) }
        #expect(throws: CUDAFailure(code: 700)) { try session.synchronize() }
      }
      let session = try Session()
      #expect(try session.download(session.upload([Float(3)]), Float.self, count: 1) == [3])
    }

    @Test func freedMemoryIsOutOfBounds() throws {
      let session = try Session()
      let address = try session.allocate(4096)
      try session.free(address)
      #expect(throws: CUDAFailure(code: 700)) { try run("store_far", session, [0, 0, address, 0]) }
    }

    @Test func copiesStayInsideAllocations() throws {
      let session = try Session()
      let address = try session.allocate(100)
      let set = simulator.call("cuMemsetD8Async", as: tc_cuMemsetD8Async.self)
      #expect(set(address, 0, 100, session.stream) == 0)
      #expect(set(address + 1, 0, 100, session.stream) == 1)
      #expect(set(64, 0, 1, session.stream) == 1)
      #expect(throws: CUDAFailure(code: 1)) { try session.download(address, UInt8.self, count: 101) }
    }

    // MARK: What a kernel may not do

    @Test(
      arguments: [
        ("store_shared", 1, 64, 700), ("overflow", 1, 0, 719), ("mix", 32, 0, 719),
        ("load_anywhere", 32, 8, 716),
        ("load_anywhere", 32, 128, 700), ("copy_anywhere", 1, 8, 716), ("copy_anywhere", 1, 64, 700),
        ("diverge", 64, 0, 719), ("diverge", 64, 1, 719),
      ] as [(String, Int, UInt64, Int32)])
    func badKernelsFail(kernel: String, block: Int, argument: UInt64, error: Int32) throws {
      let session = try Session()
      let memory = try session.upload([Float](repeating: 0, count: 16)), result = try session.allocate(512)
      #expect(throws: CUDAFailure(code: error)) {
        // store_shared begins at a multiple of 128 before the end: 64 bytes lie at the end exactly where 128 do.
        try run(
          kernel, session, block: block, shared: 128,
          [memory, 0, result, kernel == "store_shared" ? argument + 64 : argument])
      }
    }

    @Test func launchesAreChecked() throws {
      let session = try Session()
      let reverse = try session.function("reverse", of: Self.source.get())
      let one = try session.function("add_one", of: Self.source.get())
      let parameters = [0, 0, try session.allocate(4096), 0]
      let setAttribute = simulator.call("cuFuncSetAttribute", as: tc_cuFuncSetAttribute.self)
      // More threads than the kernel is bound to, and than there may be.
      #expect(throws: CUDAFailure(code: 1)) { try session.launch(one, block: 2, parameters) }
      #expect(throws: CUDAFailure(code: 1)) { try session.launch(reverse, block: 1025, parameters) }
      #expect(throws: CUDAFailure(code: 1)) { try session.launch(reverse, block: 0, parameters) }
      #expect(throws: CUDAFailure(code: 1)) {
        try session.launch(reverse, grid: (1, 65536), block: 1, parameters)
      }
      // Shared memory: 48 KiB, or what the function opts in to, up to what the device has.
      try session.launch(reverse, block: 32, shared: 48 << 10, parameters)
      #expect(throws: CUDAFailure(code: 1)) {
        try session.launch(reverse, block: 32, shared: 48 << 10 + 1, parameters)
      }
      #expect(setAttribute(reverse, 8, 163 << 10 + 1) == 1)
      #expect(setAttribute(reverse, 8, 163 << 10) == 0)
      try session.launch(reverse, block: 32, shared: 163 << 10, parameters)
      try session.synchronize()
      var bound: Int32 = 0
      #expect(simulator.call("cuFuncGetAttribute", as: tc_cuFuncGetAttribute.self)(&bound, 0, reverse) == 0)
      #expect(bound == 1024)
    }

    // MARK: Faults on purpose

    @Test func faultsComeAtTheirCall() throws {
      #expect(throws: CUDAFailure(code: 46)) { try Session(["FAULT": "context=46"]) }
      let session = try Session(["FAULT": "alloc@2=2,kernel@2=719"])
      let number = try session.upload([Float(1)])
      #expect(throws: CUDAFailure(code: 2)) { try session.allocate(16) }
      let parameters = [0, 0, number, 0]
      try run("add_one", session, parameters)
      #expect(throws: CUDAFailure(code: 719)) { try run("add_one", session, parameters) }
      // A lost device stays lost.
      #expect(throws: CUDAFailure(code: 719)) { try session.allocate(16) }
    }

    // MARK: NVRTC

    @Test func compilerErrorsAreInTheLog() throws {
      let session = try Session()
      let made = session.compile("#include \"device.cuh\"\nKERNEL(bad, tc_cuda_map, 32) { nonsense; }\n")
      #expect(made.result == 6)
      #expect(made.log.contains("test.cu") && made.log.contains("nonsense"))
      #expect(made.image.isEmpty)
    }

    @Test func optionsAreChecked() throws {
      let session = try Session()
      let source = "#include \"device.cuh\"\nstatic_assert(__CUDA_ARCH__ == 860 && SIZE == 3, \"\");\n"
      #expect(session.compile(source, ["-arch=sm_86", "-DSIZE=3", "-D", "OTHER", "--std=c++17"]).result == 0)
      #expect(session.compile(source, ["-arch=sm_86", "-DSIZE=4"]).result == 6)
      for bad in ["-arch=sm_81", "-arch=80", "-arch=sm_", "-O17"] {
        let made = session.compile(source, [bad])
        #expect(made.result == 5 && !made.log.isEmpty, "\(bad)")
      }
    }

    /// And on a driver that is not too old for them.
    @Test func imagesRunOnTheirArchitecture() throws {
      let source = try Self.source.get()
      let cubin: [UInt8], ptx: [UInt8]
      do {
        let session = try Session()
        cubin = session.compile(source, ["-arch=sm_80"]).image
        ptx = session.compile(source, ["-arch=compute_80"], ptx: true).image
        #expect(throws: CUDAFailure(code: 500)) { try session.function("absent", in: session.load(cubin)) }
      }
      for (arch, driver, native, portable) in [
        ("86", "12040", 0, 0), ("75", "12040", 209, 209), ("90", "12040", 209, 0), ("80", "13000", 0, 0),
        ("80", "12030", 0, 222), ("80", "11080", 200, 222),
      ] as [(String, String, Int32, Int32)] {
        let session = try Session(["ARCH": arch, "DRIVER": driver])
        #expect(failure { _ = try session.load(cubin) } == native, "sm_\(arch), \(driver)")
        #expect(failure { _ = try session.load(ptx) } == portable, "sm_\(arch), \(driver)")
      }
    }

    @Test func damagedImagesAreRefused() throws {
      let session = try Session()
      var image = session.compile(try Self.source.get()).image
      #expect(failure { _ = try session.load([0x7f, 0x45, 0x4c, 0x46]) } == 200)
      image[image.count / 2] ^= 1
      #expect(failure { _ = try session.load(image) } == 200)
    }

    /// The code of the error of some calls, or 0.
    private func failure(_ calls: () throws -> Void) -> Int32 {
      do { try calls() } catch { return (error as? CUDAFailure)?.code ?? -1 }
      return 0
    }
  }
}
