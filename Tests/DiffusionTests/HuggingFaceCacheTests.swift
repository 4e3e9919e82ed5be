import Base
import Diffusion
import TestSupport
import Testing

/// Snapshots in a Hugging Face cache.
struct HuggingFaceCacheTests {
  @Test func findsTheSnapshotOfMain() throws {
    let cache = try TemporaryFolder()
    for name in [
      "models--org--tiny", "models--org--tiny/refs", "models--org--tiny/snapshots",
      "models--org--tiny/snapshots/0123abcd",
    ] { try cache.makeFolder(name) }
    try cache.write("models--org--tiny/refs/main", "0123abcd\n")
    try cache.link(Parity.root + "/sd-tiny", "models--org--tiny/snapshots/0123abcd/")
    let environment = { $0 == "HF_HUB_CACHE" ? cache.path : nil }
    let model = try ModelFolder.find("org/tiny", environment: environment)
    #expect(model.name == "org/tiny")
    #expect(model.path.hasSuffix("snapshots/0123abcd"))
    // As a service's settings have it, for which no shell puts the home folder.
    let parent = String(cache.path.dropLast(cache.name.count + 1))
    let settings = ["HF_HUB_CACHE": "~/" + cache.name, "HOME": parent]
    #expect(try ModelFolder.find("org/tiny", environment: { settings[$0] }).path == model.path)

    try cache.write("models--org--tiny/refs/main", "../../..")
    #expect { try ModelFolder.find("org/tiny", environment: environment) } throws: {
      ($0 as? DiffusionError)?.kind == .noInput
    }
  }

  /// A folder that happens to have an embedded model's name does not take its place: tests run beside one called Tests.
  @Test func embeddedModelsComeFirst() throws {
    let models = try TemporaryFolder()
    try models.makeFolder("Tests")
    try models.link(Parity.root + "/sd-tiny", "Tests/")
    let environment = { $0 == "TURBOCAM_MODELS" ? models.path : nil }
    #expect(!(names(in: "Tests") ?? []).isEmpty, "tests run in the root of the source tree")
    let model = try ModelFolder.find("Tests", environment: environment)
    #expect(model.path == models.path + "/Tests")
  }
}
