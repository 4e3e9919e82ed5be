import CUDABackend
import Diffusion
import Filter
import Glibc
import Inputs

/// `turbocam devices`: what there is to take pictures with, to give them to, and to compute on.
struct DevicesCommand: Subcommand {
  static let name = "devices"
  static let summary = "List cameras with their formats, virtual cameras and GPUs."
  static let synopsis = "[--json]"
  static let options = [Option("json", nil, "one JSON object on standard output")]

  private let json: Bool

  init(_ arguments: Arguments) throws {
    try arguments.expectOperands([])
    json = arguments.has("json")
  }

  func run() throws -> Int32 {
    let devices = Cameras.list()
    let cameras = devices.filter(\.isCapture)
    let virtual = devices.filter(\.isOutput)
    let denied = Cameras.survey().denied
    let gpus = GPU.list()
    let cuda = CUDASystem.survey()
    try Terminal.print(
      json
        ? Self.json(cameras, virtual, denied, gpus, cuda).text
        : Self.text(cameras, virtual, denied, gpus, cuda))
    return 0
  }

  private static func text(
    _ cameras: [CameraInfo], _ virtual: [CameraInfo], _ denied: [DeniedNode], _ gpus: [GPU],
    _ cuda: CUDASystem
  ) -> String {
    var lines = ["Cameras:"]
    lines += cameras.isEmpty ? ["  none ('turbocam doctor' tells why)"] : cameras.flatMap(describe)
    lines.append("Virtual cameras:")
    lines += virtual.isEmpty ? ["  none ('turbocam doctor' tells how to make one)"] : virtual.map(head)
    lines += denied.map { "  \($0.label): \($0.error.fact) ('turbocam doctor' tells what to do)" }
    lines.append("GPUs:")
    let known = cuda.gpus.map(\.text) + GPU.others(gpus, than: cuda).map(\.text)
    lines += known.isEmpty ? ["  none"] : known.map { "  \($0)" }
    lines.append("CUDA:")
    let isUseful = !cuda.gpus.isEmpty || GPU.hasNVIDIA
    lines += isUseful ? cuda.parts.map { "  \($0.name): \($0.text)" } : ["  no NVIDIA GPU, so none is needed"]
    return lines.joined(separator: "\n")
  }

  private static func head(_ camera: CameraInfo) -> String {
    "  \(camera.path)  \(camera.card) (\(camera.driver), \(camera.bus))"
  }

  private static func describe(_ camera: CameraInfo) -> [String] {
    var lines = [head(camera)]
    for format in camera.formats {
      lines.append("    \(format.fourcc)  \(format.description)")
      for size in format.sizes {
        let rates = size.rates.map { fixed($0, $0 == $0.rounded() ? 0 : 2) }.joined(separator: ", ")
        lines.append("      \(size.width)x\(size.height)" + (rates.isEmpty ? "" : "  \(rates) fps"))
      }
    }
    return lines
  }

  private static func json(
    _ cameras: [CameraInfo], _ virtual: [CameraInfo], _ denied: [DeniedNode], _ gpus: [GPU],
    _ cuda: CUDASystem
  ) -> JSON {
    .object([
      "cameras": .array(cameras.map(json)),
      "virtual_cameras": .array(virtual.map(json)),
      "denied": .array(
        denied.map { .object(["path": .string($0.path), "card": .string($0.name)]) }),
      "gpus": .array(cuda.gpus.map(\.json) + GPU.others(gpus, than: cuda).map(\.json)),
      "cuda": .object(
        JSONObject(cuda.parts.map { JSONObject.Member(name: $0.key, value: $0.json) })),
    ])
  }

  private static func json(_ camera: CameraInfo) -> JSON {
    .object([
      "path": .string(camera.path), "card": .string(camera.card), "driver": .string(camera.driver),
      "bus": .string(camera.bus),
      "formats": .array(
        camera.formats.map { format in
          .object([
            "fourcc": .string(format.fourcc), "description": .string(format.description),
            "sizes": .array(
              format.sizes.map {
                .object([
                  "width": .integer($0.width), "height": .integer($0.height),
                  "fps": .array($0.rates.map { .number($0) }),
                ])
              }),
          ])
        }),
    ])
  }
}

extension Substring {
  /// Without white space at both ends.
  var trimmed: String {
    var text = drop(while: \.isWhitespace)
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }
}
