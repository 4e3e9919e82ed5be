import CUDABackend
import Engine
import GraphCases
import TestSupport
import Testing

/// Whole programs on the simulated GPU: fusion, planning, cadences, capture and replay.
@Suite(.enabled(if: Simulator.isReady), .serialized) struct ProgramTests {
  @Test(arguments: 0..<30) func randomGraphsMeanTheSame(seed: Int) throws {
    let test = Case(seed: seed)
    test.writeRandomGraph(length: 3 + seed % 20, element: .f32)
    let expected = try test.run(ReferenceBackend())
    for fuses in [false, true] {
      let found = try test.run(try CUDABackend(element: .f32, fuses: fuses))
      for (name, numbers) in expected {
        #expect(relativeError(try #require(found[name]), numbers) <= 5e-5, "fuses \(fuses)")
      }
    }
  }

  /// f16: fusion leaves roundings out, so it must not be further from f32 than the reference rounding each op.
  @Test(arguments: 0..<20) func randomGraphsStayNearInHalfPrecision(seed: Int) throws {
    for error in try Case.roundingErrors(seed: seed, .f16, on: CUDABackend()) {
      #expect(error.found <= 1.5 * error.reference + 1e-3)
    }
  }

  /// The captured graph replays with what the inputs hold then.
  @Test func inputsOfAllCadencesCanBeWrittenAgain() throws {
    let test = Case(seed: 11)
    test.writeRandomGraph(length: 25, element: .f32)
    let errors = try test.errorsOfRewrittenInputs(rounds: 4, on: CUDABackend(element: .f32))
    for error in errors { #expect(error <= 5e-5) }
  }

  /// Frames under way on one GPU, or on several that take turns, with settings changing in between: each has the inputs
  /// of its own start.
  @Test(arguments: [1, 2, 3]) func framesOverlapWithoutMeeting(members: Int) throws {
    let test = Case(seed: 5)
    test.writeRandomGraph(length: 12, element: .f32)
    let backends = try (0..<members).map { _ in try CUDABackend(element: .f32) }
    let backend: any Backend = members == 1 ? backends[0] : TurnsBackend(backends)
    let program = try backend.compile(test.graph, weights: test.weights) { _ in }
    #expect(program.depth == members + 1)
    var expected: [[String: [Float]]] = []
    func finishOldest() throws {
      try program.finish()
      let found = try Case.outputs(program, test.graph)
      for (name, numbers) in expected.removeFirst() {
        #expect(relativeError(try #require(found[name]), numbers) <= 5e-5)
      }
    }
    for round in 0..<8 {
      for index in test.inputs.indices where round == 0 || test.dice.pick(0...1) == 0 {
        let type = try #require(program.type(of: test.inputs[index].name))
        test.inputs[index].bytes = ElementCodec.encode(test.dice.floats(type.count), type.element)
      }
      // A frame's inputs are those of its slot: all are written each time.
      for input in test.inputs { try input.bytes.withUnsafeBytes { try program.write(input.name, $0) } }
      try program.start()
      expected.append(try test.run(ReferenceBackend()))
      if expected.count == program.depth { try finishOldest() }
    }
    while !expected.isEmpty { try finishOldest() }
  }

  /// Once it is compiled, nothing is allocated, compiled or launched one by one.
  @Test func aFrameIsOneGraphAndItsCopies() throws {
    let test = Case(seed: 5)
    test.writeRandomGraph(length: 12, element: .f32)
    let program = try CUDABackend(element: .f32).compile(test.graph, weights: test.weights) { _ in }
    for input in test.inputs { try input.bytes.withUnsafeBytes { try program.write(input.name, $0) } }
    try program.run()
    let never = ["alloc", "host", "free", "module", "function", "launch", "capture", "graph", "stream"]
    func counts() -> [Int] { (never + ["replay", "copy"]).map { Simulator.calls($0) } }
    let before = counts()
    #expect(before[0] > 0 && before[1] > 0)
    for _ in 0..<10 { try program.run() }
    let frames = test.graph.nodes.filter { node in
      if case .input = node.op { return node.cadence == .frame }
      return false
    }
    let copies = frames.count + test.graph.outputs.count
    #expect(zip(counts(), before).map { $0 - $1 } == never.map { _ in 0 } + [10, 10 * copies])
    // A setting that changes writes its buffer and runs what depends on it; the graph stays.
    let setting = try #require(
      test.inputs.first { input in !frames.contains { $0.op == .input(input.name) } })
    try setting.bytes.withUnsafeBytes { try program.write(setting.name, $0) }
    try program.run()
    #expect(Simulator.calls("capture") == before[6] && Simulator.calls("graph") == before[7])
  }

  @Test func profileTellsTheWorkOfEachOp() throws {
    let test = Case(seed: 3)
    let x = test.input([10, 10, 8], .f16)
    test.graph.output("y", test.graph.convolution(x, weight: test.weight([16, 3, 3, 8], .f16)))
    let program = try CUDABackend().compile(test.graph, weights: test.weights) { _ in }
    let times = try program.profile()
    #expect(times.map(\.operations) == [Double(2 * 8 * 8 * 16) * Double(9 * 8)])
    #expect(times.allSatisfy { $0.cadence == .frame && $0.seconds >= 0 })
    #expect(times[0].label.contains("product "), "on tensor cores")
    #expect(program.memory.weights >= 16 * 9 * 8 * 2)
  }

  /// The second of the simulated GPUs is a Hopper, the first is older.
  @Test(arguments: [0, 1]) func aProgramTellsWhetherItsKernelsBeginEarly(ordinal: Int) throws {
    let test = Case(seed: 5)
    test.writeRandomGraph(length: 12, element: .f32)
    let backend = try CUDABackend(ordinal: ordinal, element: .f32)
    let program = try backend.compile(test.graph, weights: test.weights) { _ in }
    #expect(try backend.overlapsLaunches(of: program) == (ordinal == 1))
  }

  @Test func aGPUThatIsNotThereIsRefused() {
    #expect(throws: CUDAError.self) { _ = try CUDABackend(ordinal: 7) }
  }

  /// What only settings need leaves the GPU where memory is short, and comes back when they change.
  @Test func weightsOfSettingsLeaveWhereMemoryIsShort() throws {
    let test = Case(seed: 21)
    let setting = test.input([3, 64], .f32, .settings)
    let other = test.input([3, 64], .f32, .settings)
    // `shared` is read by frames too, so it must stay.
    let (own, shared) = (test.weight([64, 64]), test.weight([64, 64]))
    let hidden = test.graph.activation(test.graph.linear(setting, weight: own), .tanh)
    let mixed = test.graph.add(test.graph.linear(hidden, weight: shared), other)
    test.graph.output("y", test.graph.add(test.graph.linear(test.input([3, 64]), weight: shared), mixed))
    for (reserve, isResident) in [(0, true), (Int.max, false)] {
      let backend = try CUDABackend(element: .f32, reserve: reserve)
      let program = try backend.compile(test.graph, weights: test.weights) { _ in }
      for round in 0..<3 {
        for index in test.inputs.indices where round == 0 || index == round - 1 {
          test.inputs[index].bytes = ElementCodec.encode(test.dice.floats(192), .f32)
          try test.inputs[index].bytes.withUnsafeBytes { try program.write(test.inputs[index].name, $0) }
        }
        if round == 0 {
          for input in test.inputs { try input.bytes.withUnsafeBytes { try program.write(input.name, $0) } }
        }
        try program.run()
        let expected = try #require(try test.run(ReferenceBackend())["y"])
        #expect(relativeError(try #require(try Case.outputs(program, test.graph)["y"]), expected) <= 1e-5)
        #expect(program.memory.weights == 64 * 64 * 4 * (isResident ? 2 : 1), "reserve \(reserve)")
      }
    }
  }

  /// Sums of f16 within a tile of k: less exact, by as much as the hardware's rounding allows, and no more however deep.
  @Test(arguments: [320, 5120]) func halfSumsStayWithinTheirError(depth: Int) throws {
    let test = Case(seed: depth)
    let limit = (3 / Float(depth)).squareRoot()
    let x = test.input([64, depth], .f16)
    test.graph.output(
      "y", test.graph.linear(x, weight: test.weight([64, depth], .f16, stored: .f16, -limit...limit)))
    let exact = try test.error(of: CUDABackend())
    let half = try CUDABackend(products: ProductFormat(sums: .f16))
    let error = try test.error(of: half)
    #expect(half.modules.contains { $0.contains("SUMS=TC_F16") })
    #expect(exact < 3e-4)
    #expect(error > exact && error < 1.2e-3, "\(error)")
  }

  /// Rows around 16 with a deviation of 1, whose mean only the end of a product takes away: sums of f16 would
  /// keep too little beside it, and are not for them.
  @Test func halfSumsAreOnlyForCentredRows() throws {
    let test = Case(seed: 16)
    let spread = Float(3).squareRoot()
    let x = test.input([64, 320], .f16, .frame, 16 - spread...16 + spread)
    let norm = test.graph.layerNorm(x, epsilon: 1e-5, gain: test.weight([320]), shift: test.weight([320]))
    test.graph.output("y", test.graph.linear(norm, weight: test.weight([64, 320], .f16, stored: .f16)))
    let backend = try CUDABackend(products: ProductFormat(sums: .f16))
    let error = try test.error(of: backend)
    #expect(error < 2e-3, "\(error)")
    #expect(backend.modules.contains { $0.hasPrefix("product.cu") })
    #expect(!backend.modules.contains { $0.contains("SUMS=TC_F16") })
  }
}
