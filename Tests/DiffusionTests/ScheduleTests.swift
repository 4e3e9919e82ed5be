import Diffusion
import Testing

struct ScheduleTests {
  /// `spacings` has lists of more and of fewer betas than timesteps.
  @Test(arguments: ["schedulers": 50, "spacings": 5])
  func schedulesAreThoseOfDiffusers(name: String, least: Int) throws {
    let parity = try Parity(name)
    let cases = parity.cases("scheduler")
    #expect(cases.count > least)
    for entry in cases {
      let config = try scheduler(entry)
      let timesteps = try parity.floats(try #require(entry.output("timesteps")))
      let sigmas = try parity.floats(try #require(entry.output("sigmas")))
      let found = Schedule(config, timesteps: timesteps)
      #expect(found.sigmas.count == sigmas.count)
      for (a, b) in zip(found.sigmas, sigmas) {
        #expect(abs(a - b) <= 5e-6 * max(b, 0.01), "\(entry.name)")
      }
      let steps = entry.int("steps")
      #expect(Timesteps.diffusers.of(config, steps: steps, strength: 1) == timesteps, "\(entry.name)")
      let noise = Float(try #require(entry.json["init_noise_sigma"]?.double))
      #expect(abs(found.noiseAlone - noise) <= 5e-6 * noise, "\(entry.name)")
    }
  }

  /// Of all spacings, by the number of steps and the strength alone.
  @Test func timestepsAreThoseOfImageToImage() throws {
    let parity = try Parity("schedulers")
    var compared: [String: Int] = [:]
    for entry in parity.cases("scheduler") {
      let config = try scheduler(entry)
      let total = entry.int("steps")
      for slice in entry.json["image_to_image"]?.array?.compactMap(\.object) ?? [] {
        let strength = try #require(slice["strength"]?.double)
        let expected = try #require(slice["timesteps"]?.array).compactMap(\.double).map(Float.init)
        guard !expected.isEmpty,
          Timesteps.inferenceSteps(for: expected.count, strength: strength) == total
        else { continue }
        let found = Timesteps.diffusers.of(config, steps: expected.count, strength: strength)
        #expect(found == expected, "\(entry.name), strength \(strength)")
        compared[config.spacing.rawValue, default: 0] += 1
      }
    }
    for spacing in SchedulerConfig.Spacing.allCases {
      #expect(compared[spacing.rawValue, default: 0] > 20, "\(spacing)")
    }
  }

  /// Row i of the table is for strength (i + 1) / 100, column k for k + 1 steps.
  @Test func inferenceStepsAreTheFewestThatDiffusersTakes() throws {
    let parity = try Parity("spacings")
    let shape = try parity.shape("inference_steps")
    try #require(shape == [100, 50])
    let table = try parity.integers("inference_steps")
    for (index, expected) in table.enumerated() {
      let (strength, steps) = (Double(index / 50 + 1) / 100, index % 50 + 1)
      let found = Timesteps.inferenceSteps(for: steps, strength: strength)
      #expect(found == Int(expected), "\(steps) steps at strength \(strength)")
    }
    // int(100 · 0.29) is 28.
    #expect(Timesteps.inferenceSteps(for: 29, strength: 0.29) == 101)
    #expect(Timesteps.inferenceSteps(for: 50, strength: .leastNonzeroMagnitude) >= 1_000_000)
  }

  // MARK: Live

  @Test func liveTimestepsFollowTheFormula() throws {
    func live(_ steps: Int, _ strength: Double, train: Int = 1000) throws -> [Float] {
      let count = JSONObject.Member(name: "num_train_timesteps", value: .number(Double(train)))
      let config = Config(path: "scheduler_config.json", object: JSONObject([count]))
      let scheduler = try SchedulerConfig(config, className: "EulerDiscreteScheduler")
      return Timesteps.even.of(scheduler, steps: steps, strength: strength)
    }
    // round(1000·0.45·(1 − k/2)) − 1, and N/S is not whole.
    #expect(try live(2, 0.45) == [449, 224])
    #expect(try live(1, 1, train: 500) == [499])
    #expect(try live(3, 1e-9) == [0, 0, 0])
    #expect(try live(3, .leastNonzeroMagnitude) == [0, 0, 0])
  }

  /// With N/S whole they are the end of diffusers' trailing ones; whatever the file says.
  @Test func liveTimestepsAreDiffusersWhereStepsAreWhole() throws {
    let parity = try Parity("schedulers")
    var compared = 0
    for entry in parity.cases("scheduler")
    where entry.json["config"]?.object?["timestep_spacing"] == .string("trailing") {
      let (config, total) = (try scheduler(entry), entry.int("steps"))
      for slice in entry.json["image_to_image"]?.array?.compactMap(\.object) ?? [] {
        let strength = try #require(slice["strength"]?.double)
        let expected = try #require(slice["timesteps"]?.array).compactMap(\.double).map(Float.init)
        guard abs(Double(expected.count) - Double(total) * strength) < 1e-9, !expected.isEmpty else {
          continue
        }
        let found = Timesteps.even.of(config, steps: expected.count, strength: strength)
        #expect(found == expected, "\(entry.name), strength \(strength)")
        compared += 1
      }
    }
    #expect(compared > 50)
    let leading = try #require(parity.cases("scheduler").first { $0.name == "schedulers.euler-leading.4" })
    #expect(Timesteps.even.of(try scheduler(leading), steps: 1, strength: 0.5) == [499])
  }

  private func scheduler(_ entry: Case) throws -> SchedulerConfig {
    var members = try #require(entry.json["config"]?.object).members
    members.append(.init(name: "_class_name", value: try #require(entry.json["class"])))
    return try SchedulerConfig(Config(path: "scheduler_config.json", object: JSONObject(members)))
  }
}
