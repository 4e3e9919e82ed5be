import CUDABackend
import Engine
import Glibc
import GraphCases
import TestSupport
import Testing

/// Machines as they may be found: drivers, libraries and GPUs are those that the environment tells the simulated
/// driver of, so each test has a process of its own.
@Suite struct MachineTests {
  /// Sets the simulated driver up as CUDASimulator.h says, for who opens it while no context is there.
  private func simulate(_ settings: [String: String]) {
    #expect(Simulator.isReady)
    for (name, value) in settings { setenv("TURBOCAM_SIMULATOR_" + name, value, 1) }
  }

  /// Something to run: one kernel, and no weights.
  private func makeCase() -> Case {
    let test = Case(seed: 5)
    test.graph.output("y", test.graph.activation(test.input([64]), .tanh))
    return test
  }

  // MARK: GPUs

  /// One that another program has to itself is passed over; where there is no other, that is what is told.
  @Test func aTakenGPUIsPassedOver() async {
    await #expect(processExitsWith: .success) { try MachineTests().takeAnother() }
  }

  private func takeAnother() throws {
    simulate(["TAKEN": "0"])
    do {
      let other = try CUDABackend.first()
      #expect(other.device.ordinal == 1)
    }
    let taken = try #require(throws: CUDAError.self) { try CUDABackend() }
    #expect(!taken.endsPrograms && taken.exitCode == 69)
    #expect(taken.description.contains("cuda:0") && taken.description.contains("nvidia-smi"), "\(taken)")
    simulate(["TAKEN": "0,1"])
    #expect(throws: taken) { try CUDABackend.first() }
    // As drivers answer where the GPU is set to no program at all.
    simulate(["TAKEN": "", "FAULT": "context=999"])
    let prohibited = try #require(throws: CUDAError.self) { try CUDABackend() }
    #expect(!prohibited.endsPrograms && prohibited.remedy == taken.remedy, "\(prohibited)")
  }

  /// One that was lost and is not to be had yet is still lost, and is asked for again.
  @Test func aLostGPUMayBeTakenForAWhile() async {
    await #expect(processExitsWith: .success) { try MachineTests().loseAndWait() }
  }

  private func loseAndWait() throws {
    let test = makeCase()
    simulate(["FAULT": "kernel@1=719"])
    let backend = try CUDABackend(element: .f32)
    for fault in ["context=46", ""] {
      let lost = try #require(throws: CUDAError.self) { try test.run(backend) }
      #expect(lost.endsPrograms, "\(lost)")
      simulate(["FAULT": fault])
    }
    #expect(try test.error(of: backend) <= 1e-5)
  }

  // MARK: Memory

  /// Memory of the computer that cannot be had is not taken for the GPU's.
  @Test func wantOfHostMemoryIsTold() async {
    await #expect(processExitsWith: .success) { try MachineTests().lackHostMemory() }
  }

  private func lackHostMemory() throws {
    simulate(["HOST_MEMORY": "1000000"])
    let test = makeCase()
    let backend = try CUDABackend(element: .f32)
    let error = try #require(throws: CUDAError.self) { try test.run(backend) }
    #expect(error == .hostMemory(byteCount: 8 << 20))
    #expect(error.description.contains("page-locked") && error.description.contains("8388608"), "\(error)")
  }

  /// Weights of more bytes than the GPU has are told apart from those that another program leaves no room for.
  @Test func aModelLargerThanTheGPUIsTold() async {
    await #expect(processExitsWith: .success) { try MachineTests().exceedTheGPU() }
  }

  private func exceedTheGPU() throws {
    simulate(["MEMORY": "\(32 << 20)"])
    let test = Case(seed: 6)
    test.graph.output("y", test.graph.linear(test.input([1, 2048]), weight: test.weight([8192, 2048])))
    let error = try #require(throws: CUDAError.self) { try test.run(CUDABackend(element: .f32)) }
    guard case .tooLarge(let fact) = error else { throw error }
    #expect(fact.contains("67 MB") && fact.contains("34 MB in all"), "\(fact)")
    #expect(!error.wantsMemory && error.exitCode == 71)
  }

  // MARK: Libraries

  @Test func librariesLoadTheirKernelsAsTheyAreUsed() async {
    await #expect(processExitsWith: .success) { try MachineTests().chooseLoading() }
  }

  private func chooseLoading() throws {
    func loading() throws -> String? {
      _ = try CUDABackend()
      return getenv("CUDA_MODULE_LOADING").map { String(cString: $0) }
    }
    simulate([:])
    setenv("CUDA_MODULE_LOADING", "EAGER", 1)
    #expect(try loading() == "EAGER")
    unsetenv("CUDA_MODULE_LOADING")
    #expect(try loading() == "LAZY")
  }

  /// An NVRTC makes PTX for drivers of its own time and later: the older it is, the more of them take it.
  @Test func ofNewerCompilersTheOldestIsTaken() async {
    await #expect(processExitsWith: .success) { try MachineTests().chooseCompiler() }
  }

  private func chooseCompiler() throws {
    simulate(["DRIVER": "11080"])
    let folder = try TemporaryFolder()
    var place = ""
    for part in ["lib", "python3.11", "site-packages", "nvidia", "cuda_nvrtc", "lib"] {
      place += place.isEmpty ? part : "/\(part)"
      try folder.makeFolder(place)
    }
    let library = try readFile(Simulator.products + "/libcuda-simulator.so")
    for major in [12, 13] { try folder.write("\(place)/libnvrtc.so.\(major)", library) }
    setenv("VIRTUAL_ENV", folder.path, 1)
    unsetenv("TURBOCAM_LIBNVRTC")
    let found = try CUDASystem.survey().compiler.get()
    // On a machine that has 11 that is taken, and rightly.
    #expect(!found.path.contains("libnvrtc.so.13"), "\(found.path)")
  }

  /// Kernels compiled beforehand do without NVRTC where the driver takes them, which shows before anything
  /// settles on the GPU.
  @Test func kernelsCompiledBeforehandAreTried() async {
    await #expect(processExitsWith: .success) { try MachineTests().tryKernels() }
  }

  private func tryKernels() throws {
    simulate(["DRIVER": "12040", "NVRTC": "12040"])
    let folder = try TemporaryFolder()
    setenv("TURBOCAM_CACHE", folder.file("cache"), 1)
    let kernels = try makeKernels(in: folder)
    func check(driver: String, nvrtc: String?) throws {
      simulate(["DRIVER": driver, "NVRTC": nvrtc ?? ""])
      let library = nvrtc == nil ? "/nonexistent/libnvrtc.so" : Simulator.products + "/libcuda-simulator.so"
      setenv("TURBOCAM_LIBNVRTC", library, 1)
      try CUDABackend(prebuilt: kernels).checkCompiler()
    }
    try check(driver: "12040", nvrtc: nil)
    let refusal = try #require(throws: CUDAError.self) { try check(driver: "12030", nvrtc: nil) }
    #expect(refusal.exitCode == 69 && refusal.remedy.contains("install"))
    for fact in ["222", folder.path, "/nonexistent/libnvrtc.so"] {
      #expect(refusal.fact.contains(fact), "\(refusal)")
    }
    // What is compiled here does as well.
    try check(driver: "12030", nvrtc: "12030")
    // A compiler whose code the driver would not load compiles nothing.
    simulate(["DRIVER": "12040", "NVRTC": "13000"])
    let backend = try CUDABackend(prebuilt: kernels)
    #expect(try !backend.prepare(kernels: "product_finish.cu"))
    #expect(backend.modules == ["product_finish.cu"])
  }

  /// Only product_finish.cu is compiled: the others would take minutes, and nobody opens them.
  private func makeKernels(in folder: TemporaryFolder) throws -> PrebuiltKernels {
    let compiler = try folder.write(
      "compiler",
      """
      #!/bin/sh
      for source
      do :
      done
      if grep -q '"product_finish.cu"' "$source"; then
        exec "$(command -v clang++ || command -v g++ || command -v c++)" "$@"
      fi
      while [ "$1" != -o ]; do shift; done
      echo none > "$2"
      """)
    try #require(chmod(compiler, 0o755) == 0)
    setenv("TURBOCAM_SIMULATOR_CXX", compiler, 1)
    defer { unsetenv("TURBOCAM_SIMULATOR_CXX") }
    try folder.makeFolder("kernels")
    let kernels = PrebuiltKernels(folder: folder.file("kernels"))
    try kernels.make { _ in }
    return kernels
  }
}
