import Diffusion
import Testing

struct ScheduleTests {
  @Test func sigmasAreThoseOfDiffusers() throws {
    let parity = try Parity("schedulers")
    let cases = parity.cases("scheduler")
    #expect(cases.count > 50)
    for entry in cases {
      let config = try scheduler(entry)
      let timesteps = try parity.floats(try #require(entry.output("timesteps")))
      let sigmas = try parity.floats(try #require(entry.output("sigmas")))
      let found = Schedule(config, timesteps: timesteps).sigmas
      #expect(found.count == sigmas.count)
      for (a, b) in zip(found, sigmas) { #expect(abs(a - b) <= 5e-6 * max(b, 0.01), "\(entry.name)") }
    }
  }

  /// With N/S whole our timesteps are the end of diffusers' trailing ones.
  @Test func timestepsAreThoseOfImageToImage() throws {
    let parity = try Parity("schedulers")
    var compared = 0
    for entry in parity.cases("scheduler")
    where entry.json["config"]?.object?["timestep_spacing"] == .string("trailing") {
      let total = entry.int("steps")
      for slice in entry.json["image_to_image"]?.array?.compactMap(\.object) ?? [] {
        let strength = try #require(slice["strength"]?.double)
        let expected = try #require(slice["timesteps"]?.array).compactMap(\.double).map(Float.init)
        guard abs(Double(expected.count) - Double(total) * strength) < 1e-9, !expected.isEmpty else {
          continue
        }
        let found = Schedule.timesteps(steps: expected.count, strength: strength, trainTimesteps: 1000)
        #expect(found == expected, "\(entry.name), strength \(strength)")
        compared += 1
      }
    }
    #expect(compared > 50)
  }

  @Test func timestepsFollowTheFormula() {
    // round(1000·0.45·(1 − k/2)) − 1, and N/S is not whole.
    #expect(Schedule.timesteps(steps: 2, strength: 0.45, trainTimesteps: 1000) == [449, 224])
    #expect(Schedule.timesteps(steps: 1, strength: 1, trainTimesteps: 500) == [499])
    #expect(Schedule.timesteps(steps: 3, strength: 1e-9, trainTimesteps: 1000) == [0, 0, 0])
  }

  private func scheduler(_ entry: Case) throws -> SchedulerConfig {
    var members = try #require(entry.json["config"]?.object).members
    members.append(.init(name: "_class_name", value: try #require(entry.json["class"])))
    return try SchedulerConfig(Config(path: "scheduler_config.json", object: JSONObject(members)))
  }
}
