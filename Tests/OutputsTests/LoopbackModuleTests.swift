import Glibc
import Outputs
import TestSupport
import Testing

/// What brings a virtual camera, by what is on a machine.
@Suite struct LoopbackModuleTests {
  private static let release = "6.1.0-56-amd64"
  private static let modprobe =
    "sudo modprobe v4l2loopback video_nr=7 card_label=turbocam exclusive_caps=1 max_buffers=2"
  private static let secureBoot =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

  /// A machine that has these files.
  private func machine(_ files: [String: [UInt8]]) throws -> LoopbackModule {
    let root = try TemporaryFolder()
    for (path, bytes) in files {
      var folder = root.path
      for part in path.split(separator: "/").dropLast() {
        folder += "/\(part)"
        try #require(mkdir(folder, 0o755) == 0 || errno == EEXIST)
      }
      try writeFile(root.path + path, bytes)
    }
    return LoopbackModule(root: root.path, release: Self.release)
  }

  private let loaded: [String: [UInt8]] = ["/sys/module/v4l2loopback/version": []]
  private let source: [String: [UInt8]] = ["/usr/src/v4l2loopback-0.12.7/dkms.conf": []]
  private func modules(_ text: String, of release: String = release) -> [String: [UInt8]] {
    ["/lib/modules/\(release)/modules.dep": Array(text.utf8)]
  }

  @Test func whatIsNotLoadedIsLoaded() throws {
    for file in ["updates/dkms/v4l2loopback.ko", "extra/v4l2loopback.ko.xz"] {
      let module = try machine(
        source.merging(modules("kernel/a.ko: kernel/b.ko\n\(file): kernel/videodev.ko\n")) { $1 })
      #expect(module.presence == .built && !module.isSecureBoot)
      #expect(module.commands(7) == [Self.modprobe])
      #expect(module.advice(7) == "make a virtual camera: \(Self.modprobe)")
    }
  }

  /// modprobe does nothing where it is loaded, as by OBS.
  @Test func whatIsLoadedHasADeviceAddedOrIsLoadedAnew() throws {
    let old = try machine(loaded)
    #expect(old.presence == .loaded(canAdd: false))
    #expect(old.commands(7) == ["sudo modprobe -r v4l2loopback", Self.modprobe])
    let control: [String: [UInt8]] = ["/dev/v4l2loopback": []]
    #expect(try machine(loaded.merging(control) { $1 }).presence == .loaded(canAdd: false))
    let tool: [String: [UInt8]] = ["/usr/bin/v4l2loopback-ctl": []]
    let new = try machine(loaded.merging(control) { $1 }.merging(tool) { $1 })
    #expect(new.commands(7) == ["sudo v4l2loopback-ctl add -n turbocam -x 1 -b 2 /dev/video7"])
  }

  @Test func whatIsNotBuiltForThisKernelIsBuilt() throws {
    // It is for another one, and another module is not taken for it.
    let others = modules("updates/dkms/v4l2loopback.ko:\n", of: "6.1.0-9-amd64").merging(
      modules("kernel/my-v4l2loopback.ko:\nkernel/a.ko: updates/dkms/v4l2loopback.ko\n")
    ) { $1 }
    let module = try machine(source.merging(others) { $1 })
    #expect(module.presence == .notBuilt(hasHeaders: false))
    #expect(
      module.commands(7)
        == ["sudo apt-get install linux-headers-$(uname -r)", "sudo dkms autoinstall", Self.modprobe])
    #expect(module.fact.contains("not built for the running kernel"))
    let headers: [String: [UInt8]] = ["/lib/modules/\(Self.release)/build": []]
    let ready = try machine(source.merging(headers) { $1 })
    #expect(ready.commands(7) == ["sudo dkms autoinstall", Self.modprobe])
  }

  @Test func secureBootWantsTheKeyEnrolled() throws {
    let on = [Self.secureBoot: [6, 0, 0, 0, 1] as [UInt8]]
    let fresh = try machine(on)
    #expect(fresh.presence == .missing && fresh.isSecureBoot)
    #expect(
      fresh.commands(7) == [
        "sudo apt-get install v4l2loopback-dkms linux-headers-$(uname -r)", LoopbackModule.enrolment,
        Self.modprobe,
      ])
    #expect(fresh.advice(7).contains("restart after mokutil"))
    // Where it is loaded, the firmware let it.
    let there = try machine(on.merging(loaded) { $1 })
    #expect(!there.commands(7).contains(LoopbackModule.enrolment) && !there.advice(7).contains("Secure Boot"))
    #expect(try !machine([Self.secureBoot: [6, 0, 0, 0, 0]]).isSecureBoot)
  }

  @Test func theRunningKernelIsNamed() {
    #expect(LoopbackModule.runningKernel.contains("."))
  }

  /// README and the files for systemd make the same camera.
  @Test func whatIsWrittenElsewhereIsTheSame() throws {
    let readme = try readText(Simulator.checkout + "/README.md")
    #expect(readme.contains("    sudo modprobe v4l2loopback \(LoopbackModule.options(10))\n"))
    let file = try readText(Simulator.checkout + "/systemd/modprobe.d/turbocam-loopback.conf")
    let line = try #require(file.split(separator: "\n").first { $0.hasPrefix("options v4l2loopback ") })
    let given = Set(line.filter { $0 != "\"" }.split(separator: " "))
    for option in LoopbackModule.options(10).split(separator: " ") {
      #expect(given.contains(option), "\(option)")
    }
  }
}
