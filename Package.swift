// swift-tools-version: 6.2
import PackageDescription

/// C kernels carry the inner loops, so they are optimised in debug builds too.
let kernelFlags: [CSetting] = [.unsafeFlags(["-O3", "-fno-math-errno", "-ffp-contract=fast"])]

let package = Package(
  name: "turbocam",
  products: [
    .executable(name: "turbocam", targets: ["turbocam"]),
    .library(name: "cuda-simulator", type: .dynamic, targets: ["CUDASimulator"]),
  ],
  targets: [
    // C libraries from Debian, one target a library.
    .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg", providers: [.apt(["libturbojpeg0-dev"])]),
    .systemLibrary(name: "CAV", pkgConfig: "libavformat", providers: [.apt(["libavformat-dev"])]),
    .systemLibrary(
      name: "CMicroHTTPD", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
    .systemLibrary(name: "CDNNL", providers: [.apt(["libdnnl-dev"])]),
    .systemLibrary(name: "CV4LConvert", pkgConfig: "libv4lconvert", providers: [.apt(["libv4l-dev"])]),
    .target(name: "CV4L2"),
    .target(name: "CSystem"),
    // The web page, embedded by the C compiler.
    .target(name: "CWebPage", exclude: ["page.html"], cSettings: [.unsafeFlags(["-Wno-c23-extensions"])]),
    .target(name: "CFont"),
    .target(name: "CPixels", cSettings: kernelFlags),
    .target(name: "CKernels", dependencies: ["CSystem"], cSettings: kernelFlags),
    // Our declarations of the CUDA driver, and the kernels' sources, embedded by the C compiler.
    .target(name: "CCUDA", exclude: ["kernels"], cSettings: [.unsafeFlags(["-Wno-c23-extensions"])]),

    // The rooms.
    .target(name: "Base", dependencies: ["CSystem"]),
    .target(name: "Engine"),
    .target(name: "CPUBackend", dependencies: ["Base", "Engine", "CDNNL", "CKernels", "CSystem"]),
    .target(name: "CUDABackend", dependencies: ["Base", "Engine", "CCUDA"]),
    .target(name: "Diffusion", dependencies: ["Base", "Engine"]),
    .target(
      name: "Frames", dependencies: ["Base", "CSystem", "CFont", "CPixels", "CTurboJPEG", "CAV", "CV4L2"]),
    .target(name: "Inputs", dependencies: ["Base", "Frames", "CV4L2", "CV4LConvert", "CAV"]),
    .target(name: "Outputs", dependencies: ["Base", "Frames", "CV4L2", "CMicroHTTPD", "CWebPage", "CAV"]),
    .target(name: "Filter", dependencies: ["Frames", "Diffusion", "Engine"]),
    .executableTarget(
      name: "turbocam",
      dependencies: [
        "Base", "Frames", "Inputs", "Outputs", "Filter", "Diffusion", "Engine", "CPUBackend", "CUDABackend",
        "CSystem",
      ]),

    // Tests mirror the rooms.
    .target(name: "TestSupport", dependencies: ["Base"], path: "Tests/TestSupport"),
    .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
    .target(name: "GraphCases", dependencies: ["Engine", "TestSupport"], path: "Tests/GraphCases"),
    .testTarget(name: "EngineTests", dependencies: ["Engine", "GraphCases", "TestSupport"]),
    .testTarget(
      name: "CPUBackendTests",
      dependencies: [
        "Base", "Engine", "CPUBackend", "CKernels", "CSystem", "Frames", "AllocationCounter", "GraphCases",
        "TestSupport",
      ]),
    .testTarget(
      name: "CUDABackendTests",
      dependencies: ["Engine", "CUDABackend", "CUDASimulator", "GraphCases", "TestSupport"]),
    .testTarget(
      name: "DiffusionTests",
      dependencies: [
        "Base", "Diffusion", "Engine", "CPUBackend", "CUDABackend", "CUDASimulator", "AllocationCounter",
        "TestSupport",
      ]),
    .testTarget(name: "FramesTests", dependencies: ["Base", "Frames", "CTurboJPEG", "TestSupport"]),
    .testTarget(name: "InputsTests", dependencies: ["Base", "Inputs", "Frames", "TestSupport"]),
    .testTarget(name: "OutputsTests", dependencies: ["Base", "Outputs", "Frames", "CAV", "TestSupport"]),
    .testTarget(
      name: "FilterTests",
      dependencies: ["Filter", "Frames", "Diffusion", "Engine", "TestSupport"]),
    // A CUDA driver and NVRTC without a GPU, opened at run time by tests. Its device headers are embedded.
    .target(
      name: "CUDASimulator", path: "Tests/CUDASimulator", exclude: ["device"],
      cSettings: [.unsafeFlags(["-Wno-c23-extensions"])],
      cxxSettings: [
        .headerSearchPath("../../Sources/CCUDA/include"), .unsafeFlags(["-O2", "-fvisibility=hidden"]),
      ],
      linkerSettings: [.linkedLibrary("dl"), .linkedLibrary("pthread")]),
    .testTarget(name: "CUDASimulatorTests", dependencies: ["CCUDA", "TestSupport"], exclude: ["kernels"]),
    // What Tests/GPU/check runs on a machine with a GPU, where there is no Swift.
    .executableTarget(
      name: "gpu-check", dependencies: ["Engine", "CUDABackend", "Diffusion", "GraphCases", "TestSupport"],
      path: "Tests/GPU/conformance"),
    .testTarget(
      name: "CommandTests",
      dependencies: [
        "turbocam", "gpu-check", "Base", "Diffusion", "CPUBackend", "CUDASimulator", "TestSupport",
      ]),
  ],
  cxxLanguageStandard: .cxx17
)
