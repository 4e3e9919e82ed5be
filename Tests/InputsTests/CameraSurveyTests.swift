import Base
import Frames
import Glibc
import Inputs
import TestSupport
import Testing

@Suite struct CameraSurveyTests {
  // V4L2_CAP_… of videodev2.h.
  private static let capture: UInt32 = 1
  private static let output: UInt32 = 2
  private static let mediaController: UInt32 = 0x2000_0000

  private func node(
    _ number: Int, _ card: String, bus: String = "", driver: String = "uvcvideo", flags: UInt32 = capture,
    obstacle: String? = nil
  ) -> CameraNode {
    let capability = VideoCapability(
      card: card, driver: driver, bus: bus.isEmpty ? "usb-\(number)" : bus, flags: flags)
    return CameraNode(path: "/dev/video\(number)", capability: capability, obstacle: obstacle)
  }
  private func loopback(_ number: Int, flags: UInt32 = capture) -> CameraNode {
    node(number, "Loop", bus: "platform:v4l2loopback-00\(number)", driver: "v4l2 loopback", flags: flags)
  }
  private func denied(_ number: Int, isLoopback: Bool = false) -> DeniedNode {
    let error = InputError(.denied, "opening camera /dev/video\(number)", "EACCES", remedy: "join the group")
    return DeniedNode(path: "/dev/video\(number)", name: "Cam", isLoopback: isLoopback, error: error)
  }
  private func busy(_ path: String) -> InputError {
    InputError(.unavailable, "setting camera \(path)", "busy, another program is using it", remedy: "end it")
  }

  /// The path that is taken where those in `errors` do not open, and what is said of that.
  private func taken(
    _ nodes: [CameraNode], _ errors: [String: InputError]
  ) throws -> (opened: String, notice: String?) {
    try CameraSurvey(nodes: nodes).openFirst { node in
      if let error = errors[node.path] { throw error }
      return node.path
    }
  }

  @Test func hardwareComesBeforeVirtualCameras() throws {
    let nodes = [
      loopback(0), node(1, "Metadata", flags: 0), node(2, "Webcam"), loopback(3, flags: Self.output),
      node(4, "Raw", obstacle: "raw"), node(5, "Other"),
    ]
    let survey = CameraSurvey(nodes: nodes)
    #expect(survey.cameras.map(\.path) == ["/dev/video2", "/dev/video5", "/dev/video0"])
    #expect(survey.absence == nil)
    let (opened, notice) = try taken(nodes, [:])
    #expect(opened == "/dev/video2" && notice == nil)
  }

  @Test func anotherCameraIsTakenWithANotice() throws {
    let nodes = [node(0, "Built-in"), node(2, "On the desk"), loopback(9)]
    let (opened, notice) = try taken(nodes, ["/dev/video0": busy("/dev/video0")])
    #expect(opened == "/dev/video2")
    let text = try #require(notice)
    #expect(text.contains("/dev/video0 (Built-in): busy, another program is using it"))
    #expect(text.contains("taking /dev/video2 (On the desk)"))
  }

  /// Its other nodes show something else.
  @Test func aBusyCameraIsNotTakenByAnotherNode() throws {
    let nodes = [node(0, "Webcam", bus: "usb-1"), node(2, "Infrared", bus: "usb-1")]
    let error = busy("/dev/video0")
    let errors = ["/dev/video0": error]
    #expect(throws: error) { try taken(nodes, errors) }
    // Nor is that in the way of a third.
    let (opened, notice) = try taken(nodes + [node(4, "On the desk")], errors)
    #expect(opened == "/dev/video4")
    #expect(notice?.contains("/dev/video0 (Webcam)") == true)
  }

  @Test func anotherNodeOfTheSameHardwareIsTakenSilently() throws {
    let depth = InputError(.wrongKind, "choosing", "Z16, which nothing here can read", remedy: "another")
    let nodes = [node(0, "Depth", bus: "usb-1"), node(2, "Colour", bus: "usb-1")]
    let (opened, notice) = try taken(nodes, ["/dev/video0": depth])
    #expect(opened == "/dev/video2" && notice == nil)
  }

  @Test func theFirstFailureIsTheReason() {
    let first = busy("/dev/video0")
    let second = InputError(.failed, "opening", "EIO", remedy: "")
    #expect(throws: first) {
      try taken([node(0, "A"), node(1, "B")], ["/dev/video0": first, "/dev/video1": second])
    }
  }

  @Test func whatMayNotBeOpenedIsTheReason() {
    let survey = CameraSurvey(
      nodes: [loopback(7, flags: Self.output)], denied: [denied(3, isLoopback: true), denied(4)])
    #expect(survey.absence?.kind == .denied)
    #expect(survey.absence?.attempt == "opening camera /dev/video4")
    // A virtual camera that may not be opened is no camera.
    #expect(CameraSurvey(nodes: [], denied: [denied(3, isLoopback: true)]).absence?.kind == .missing)
    // What is fed by another program does where there is nothing else, and is still not hardware.
    let fed = CameraSurvey(nodes: [loopback(7)], denied: [denied(4)])
    #expect(fed.absence == nil && fed.hardwareAbsence?.kind == .denied)
  }

  @Test func whatOnlyLibcameraReadsIsNoCamera() throws {
    let flags = Self.capture | Self.mediaController
    let raw = node(0, "ipu6", driver: "isys", flags: flags, obstacle: "raw, driver isys")
    #expect(raw.capability.needsMediaController)
    #expect(!node(1, "Webcam").capability.needsMediaController)
    let survey = CameraSurvey(nodes: [raw])
    let absence = try #require(survey.absence)
    #expect(survey.cameras.isEmpty && absence.kind == .unavailable)
    #expect(absence.fact.contains("/dev/video0 (ipu6): raw, driver isys"))
    #expect(absence.remedy.contains("v4l2-relayd"))
    #expect(CameraSurvey(nodes: [raw, node(1, "Webcam")]).cameras.map(\.path) == ["/dev/video1"])
    #expect(throws: absence) { try survey.openFirst { $0.path } }
  }

  @Test func noCameraAtAll() throws {
    let absence = try #require(CameraSurvey(nodes: []).absence)
    #expect(absence.kind == .missing && !absence.fact.contains("written to"))
    #expect(CameraSurvey(nodes: [], leavesOut: true).absence?.fact.contains("written to") == true)
  }

  @Test func deniedNodesHaveTheKernelsName() throws {
    let sysfs = try TemporaryFolder()
    try #require(mkdir(sysfs.file("video4"), 0o755) == 0)
    try #require(mkdir(sysfs.file("video10"), 0o755) == 0)
    try writeFile(sysfs.file("video4/name"), Array("Web\u{1B}[2Jcam\n".utf8))
    try writeFile(sysfs.file("video10/name"), Array("turbocam\n".utf8))
    try writeFile(sysfs.file("video10/max_openers"), Array("10\n".utf8))
    let error = denied(0).error
    let camera = DeniedNode(path: "/dev/video4", error: error, sysfs: sysfs.path)
    #expect(camera.label == "/dev/video4 (Web?[2Jcam)" && !camera.isLoopback)
    let virtual = DeniedNode(path: "/dev/video10", error: error, sysfs: sysfs.path)
    #expect(virtual.label == "/dev/video10 (turbocam)" && virtual.isLoopback)
    #expect(DeniedNode(path: "/dev/video5", error: error, sysfs: sysfs.path).label == "/dev/video5")
  }
}

@Suite struct OpenersTests {
  @Test func whoHasAFileOpenIsNamed() throws {
    let folder = try TemporaryFolder()
    try writeFile(folder.file("camera"), Array("x".utf8))
    let path = try #require(realpath(folder.file("camera"), nil).map { String(cString: $0) })
    for (process, name, target) in [
      ("31", "fire\u{1B}fox\n", path), ("7", "zoom\n", path), ("8", "other\n", path + "2"),
      ("\(getpid())", "itself\n", path), ("self", "link\n", path),
    ] {
      for place in [process, "\(process)/fd"] { try #require(mkdir(folder.file(place), 0o755) == 0) }
      try writeFile(folder.file("\(process)/comm"), Array(name.utf8))
      try #require(symlink(target, folder.file("\(process)/fd/4")) == 0)
      try #require(symlink("/dev/null", folder.file("\(process)/fd/0")) == 0)
    }
    #expect(
      openers(of: folder.file("camera"), processes: folder.path) == [
        "zoom (process 7)", "fire?fox (process 31)",
      ])
    #expect(openers(of: folder.file("nobody"), processes: folder.path) == [])
  }

  /// By what the kernel really shows: another process of this user, and not this one.
  @Test func theKernelShowsThem() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("camera")
    try writeFile(path, Array("x".utf8))
    let held = open(path, O_RDONLY | O_CLOEXEC)
    defer { close(held) }
    #expect(!openers(of: path).contains { $0.hasSuffix("(process \(getpid()))") })
    let child = try spawn("/bin/sleep", ["1000"], input: held)
    defer {
      kill(child, SIGKILL)
      waitpid(child, nil, 0)
    }
    #expect(openers(of: path).contains { $0.hasSuffix("(process \(child))") })
  }
}
