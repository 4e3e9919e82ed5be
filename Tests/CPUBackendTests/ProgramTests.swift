import CKernels
import CPUBackend
import Engine
import GraphCases
import TestSupport
import Testing

/// Whole programs: fusion, planning, cadences, sharing.
@Suite struct ProgramTests {
  /// Fused against unfused, each on both backends. f32 errors grow with the length of the graph.
  @Test(arguments: 0..<60) func randomGraphsMeanTheSameFused(seed: Int) throws {
    let test = Case(seed: seed)
    test.writeRandomGraph(length: 3 + seed % 20, element: .f32)
    let expected = try test.run(ReferenceBackend())
    let fusedGraph = Fusion.run(test.graph)
    let reference = try test.run(ReferenceBackend(), fusedGraph)
    let plain = try test.run(try CPUBackend(precision: .f32, fuses: false))
    let fused = try test.run(try CPUBackend(precision: .f32))
    for (name, numbers) in expected {
      #expect(relativeError(try #require(reference[name]), numbers) <= 5e-5, "reference, fused")
      #expect(relativeError(try #require(plain[name]), numbers) <= 5e-5, "oneDNN, unfused")
      #expect(relativeError(try #require(fused[name]), numbers) <= 5e-5, "oneDNN, fused")
    }
  }

  /// bf16: fusion leaves roundings out, so both are held against f32 and fusion must not make it worse.
  @Test(.enabled(if: CPUBackend.runsBfloat16), arguments: 0..<20)
  func randomGraphsStayNearInBfloat16(seed: Int) throws {
    for error in try Case.roundingErrors(seed: seed, .bf16, on: CPUBackend()) {
      #expect(error.found <= 1.5 * error.reference + 4e-3)
    }
  }

  /// What a file has in 16 bits takes no more in memory, in a linear layer and in a convolution of either kind.
  @Test(.enabled(if: CPUBackend.keepsHalves), arguments: [ElementType.f16, .bf16])
  func weightsOfSixteenBitsStaySo(stored: ElementType) throws {
    let test = Case(seed: 3)
    let x = test.input([64, 64, 256])
    var y = test.graph.convolution(
      x, weight: test.weight([256, 3, 3, 256], stored: stored), bias: nil, padding: Padding(1))
    y = test.graph.convolution(
      y, weight: test.weight([256, 3, 3, 256], stored: stored), bias: nil, stride: 2, padding: Padding(1))
    y = test.graph.linear(
      test.graph.reshape(y, [1024, 256]), weight: test.weight([1024, 256], stored: stored), bias: nil)
    test.graph.output("y", y)
    let program = try CPUBackend(precision: .f32).compile(test.graph, weights: test.weights) { _ in }
    #expect(program.memory.weights == 2 * (2 * 9 * 256 * 256 + 1024 * 256))
  }

  @Test func inputsOfAllCadencesCanBeWrittenAgain() throws {
    let test = Case(seed: 11)
    test.writeRandomGraph(length: 25, element: .f32)
    let errors = try test.errorsOfRewrittenInputs(rounds: 4, on: CPUBackend(precision: .f32))
    for error in errors { #expect(error <= 5e-5) }
  }

  /// Frames that are begun before the last is finished, with settings written while two are under way.
  @Test(arguments: 0..<8) func framesUnderWayMeanTheSame(seed: Int) throws {
    let test = Case(seed: 300 + seed)
    test.writeRandomGraph(length: 12, element: .f32)
    let alone = try CPUBackend(precision: .f32, threads: 1, overlap: .never)
      .compile(test.graph, weights: test.weights) { _ in }
    let program = try CPUBackend(precision: .f32, threads: 4, overlap: .always).compile(
      test.graph, weights: test.weights
    ) {
      _ in
    }
    #expect(alone.depth == 1)
    try #require(program.depth == 2)
    var expected: [[String: [Float]]] = []
    func finish() throws {
      try program.finish()
      let found = try Case.outputs(program, test.graph)
      // An output that settings alone decide is what they are now.
      let ofFrames = Set(test.graph.outputs.filter { test.graph[$0.value].cadence == .frame }.map(\.name))
      for (name, numbers) in expected.removeFirst() where ofFrames.contains(name) {
        #expect(relativeError(try #require(found[name]), numbers) <= 1e-5)
      }
    }
    let settings = Set(
      test.graph.nodes.compactMap { node -> String? in
        guard case .input(let name) = node.op, node.cadence == .settings else { return nil }
        return name
      })
    for round in 0..<9 {
      for index in test.inputs.indices where round % 4 == 0 || !settings.contains(test.inputs[index].name) {
        let name = test.inputs[index].name
        let type = try #require(program.type(of: name))
        test.inputs[index].bytes = ElementCodec.encode(test.dice.floats(type.count), type.element)
        for program in [alone, program] {
          try test.inputs[index].bytes.withUnsafeBytes { try program.write(name, $0) }
        }
      }
      try alone.run()
      if expected.count == program.depth { try finish() }
      expected.append(try Case.outputs(alone, test.graph))
      try program.start()
    }
    while !expected.isEmpty { try finish() }
    // With nothing under way, all threads paint what was written last.
    expected = [try Case.outputs(alone, test.graph)]
    try finish()
  }

  /// A profile runs what depends on settings, for frames under way too.
  @Test func framesFollowWhatAProfileHasRun() throws {
    let test = Case(seed: 320)
    let bias = test.input([16], .f32, .settings)
    test.graph.output(
      "y", test.graph.linear(test.input([3, 64]), weight: test.weight([16, 64]), bias: bias))
    let program = try CPUBackend(precision: .f32, threads: 4, overlap: .always).compile(
      test.graph, weights: test.weights
    ) { _ in }
    try #require(program.depth == 2)
    for input in test.inputs { try input.bytes.withUnsafeBytes { try program.write(input.name, $0) } }
    for _ in 0..<2 { try program.start() }
    for _ in 0..<2 { try program.finish() }
    test.inputs[0].bytes = ElementCodec.encode(test.dice.floats(16), .f32)
    try test.inputs[0].bytes.withUnsafeBytes { try program.write(test.inputs[0].name, $0) }
    _ = try program.profile()
    let expected = try #require(try test.run(ReferenceBackend())["y"])
    for _ in 0..<2 {
      try program.start()
      try program.finish()
      #expect(relativeError(try #require(try Case.outputs(program, test.graph)["y"]), expected) <= 1e-5)
    }
  }

  /// Products with them are a hundred times as slow, and softmax makes many. The caller's own arithmetic stays as it was.
  @Test(arguments: [1, 3]) func subnormalNumbersAreZerosInsideAlone(threads: Int) throws {
    let count = 1 << 16
    let graph = Graph()
    graph.output("y", graph.affine(graph.input("x", [64, count / 64], .f32, .frame), scale: 0.25, offset: 0))
    let program = try CPUBackend(precision: .f32, threads: threads).compile(graph, weights: DrawnWeights()) {
      _ in
    }
    let least = [Float](repeating: .leastNormalMagnitude, count: count)
    try least.withUnsafeBytes { try program.write("x", $0) }
    try program.run()
    let found = try #require(Case.outputs(program, graph)["y"])
    #expect(found.allSatisfy { $0 == 0 })
    #expect(least.map { $0 * 0.25 }.allSatisfy { $0 > 0 })
  }

  /// A new strength must not run the text encoder again. Seen from outside: a change of the first input that
  /// the program is not told of stays without effect while the second is written.
  @Test func onlyWhatDependsOnTheChangedSettingRunsAgain() throws {
    let graph = Graph()
    let (a, b) = (graph.input("a", [4], .f32, .settings), graph.input("b", [4], .f32, .settings))
    let x = graph.input("x", [4], .f32, .frame)
    graph.output("of a", graph.multiply(x, graph.affine(a, scale: 2, offset: 0)))
    graph.output("of b", graph.multiply(x, graph.affine(b, scale: 2, offset: 0)))
    let program = try CPUBackend(precision: .f32).compile(graph, weights: DrawnWeights()) { _ in }
    func write(_ name: String, _ number: Float) throws {
      try [Float](repeating: number, count: 4).withUnsafeBytes { try program.write(name, $0) }
    }
    func read(_ name: String) throws -> Float {
      try program.withOutput(name) { $0.loadUnaligned(as: Float.self) }
    }
    for name in ["a", "b", "x"] { try write(name, 1) }
    var hidden: UnsafeMutableRawPointer?
    try program.withInput("a") { hidden = $0.baseAddress }
    try program.run()
    try #require(hidden).storeBytes(of: 9, as: Float.self)
    try write("b", 3)
    try program.run()
    #expect(try read("of a") == 2)
    #expect(try read("of b") == 6)
    try write("a", 5)
    try program.run()
    #expect(try read("of a") == 10)
  }

  /// Large weights of settings are read for each change, and what is computed is the same.
  @Test(arguments: [0, Int.max]) func largeWeightsOfSettingsDoNotStay(limit: Int) throws {
    let test = Case(seed: 21)
    let (setting, other) = (test.input([3, 64], .f32, .settings), test.input([3, 64], .f32, .settings))
    // `shared` is read by frames too, the table as it is, and `bias` is of another setting.
    let (own, shared, table) = (test.weight([64, 64]), test.weight([64, 64]), test.weight([3, 64]))
    let hidden = test.graph.activation(test.graph.linear(setting, weight: own), .tanh)
    let sum = test.graph.add(test.graph.linear(hidden, weight: shared), table)
    let bias = test.graph.reshape(test.graph.slice(other, axis: 0, start: 0, count: 1), [64])
    let mixed = test.graph.linear(sum, weight: own, bias: bias)
    test.graph.output("y", test.graph.add(test.graph.linear(test.input([3, 64]), weight: shared), mixed))
    let backend = try CPUBackend(precision: .f32, settingsBytes: limit)
    let program = try backend.compile(test.graph, weights: test.weights) { _ in }
    for input in test.inputs { try input.bytes.withUnsafeBytes { try program.write(input.name, $0) } }
    for round in 0..<3 {
      test.inputs[round].bytes = ElementCodec.encode(test.dice.floats(192), .f32)
      try test.inputs[round].bytes.withUnsafeBytes { try program.write(test.inputs[round].name, $0) }
      try program.run()
      let expected = try #require(try test.run(ReferenceBackend())["y"])
      #expect(relativeError(try #require(try Case.outputs(program, test.graph)["y"]), expected) <= 1e-5)
    }
    let (one, row) = (64 * 64 * 4, 3 * 64 * 4)
    #expect(program.memory.weights == (limit == 0 ? one : 2 * one + row))
    #expect(try program.profile().filter { $0.operations > 0 }.count == 4)
    // What is missing is told when the model is opened, not at the first prompt.
    let absent = Graph()
    let x = absent.input("x", [3, 4], .f32, .settings)
    absent.output("y", absent.linear(x, weight: absent.weight("absent", [4, 4], .f32)))
    #expect(throws: EngineError.missingWeight("absent")) {
      _ = try backend.compile(absent, weights: test.weights) { _ in }
    }
  }

  /// What will not fit is refused before anything is filled, with how much it is; and that much does.
  @Test func aProgramIsRefusedWhereItsMemoryIsNotFree() throws {
    let test = Case(seed: 22)
    let hidden = test.graph.linear(test.input([300, 64]), weight: test.weight([64, 64]))
    test.graph.output("y", test.graph.activation(hidden, .silu))
    func compile(_ free: Int) throws -> any Executable {
      try CPUBackend(precision: .f32, overlap: .never, memory: free).compile(
        test.graph, weights: test.weights
      ) { _ in }
    }
    let error = try #require(throws: CPUError.self) { _ = try compile(1000) }
    guard case .room(let asked, 1000) = error else { throw error }
    let least = (64 * 64 + 300 * 64) * 4
    #expect(asked >= least && asked <= 3 * least)
    #expect(error.exitCode == 71 && "\(error)".contains("MB are free"))
    #expect(error.wantsMemory)
    let memory = try compile(asked).memory
    #expect(memory.weights + memory.settings + memory.arena <= asked)
    #expect(throws: CPUError.room(asked: asked, free: asked - 1)) { _ = try compile(asked - 1) }
  }

  /// What nothing that ends makes room for is no matter of waiting.
  @Test func aProgramThatNeverFitsIsToldApart() throws {
    let test = Case(seed: 24)
    test.graph.output("y", test.graph.linear(test.input([300, 64]), weight: test.weight([64, 64])))
    func refusal(_ whole: Int) throws -> CPUError {
      let backend = try CPUBackend(precision: .f32, overlap: .never, memory: 1000, wholeMemory: whole)
      return try #require(throws: CPUError.self) {
        _ = try backend.compile(test.graph, weights: test.weights) { _ in }
      }
    }
    let passing = try refusal(1 << 30)
    guard case .room(let asked, 1000) = passing else { throw passing }
    #expect(try refusal(asked) == passing)
    let never = try refusal(asked - 1)
    #expect(never == .tooLarge(asked: asked, whole: asked - 1))
    #expect(!never.wantsMemory && never.exitCode == 71)
  }

  /// Weights that settings alone need count where they stay, and what lies in memory while weights are read.
  @Test func weightsOfSettingsAreRefusedToo() throws {
    let test = Case(seed: 23)
    let setting = test.graph.linear(
      test.input([1, 256], .f32, .settings), weight: test.weight([256, 256], stored: .f16))
    test.graph.output("y", test.graph.add(test.input([3, 256]), setting))
    func asked(settingsBytes: Int) throws -> Int {
      let backend = try CPUBackend(
        precision: .f32, settingsBytes: settingsBytes, overlap: .never, memory: 0)
      let error = try #require(throws: CPUError.self) {
        _ = try backend.compile(test.graph, weights: test.weights) { _ in }
      }
      guard case .room(let asked, 0) = error else { throw error }
      return asked
    }
    // In f32 while they are read, and as they are multiplied.
    #expect(try asked(settingsBytes: .max) - asked(settingsBytes: 0) >= 2 * 4 * 256 * 256)
    #expect(test.weights.reads.isEmpty)
  }

  @Test func weightsAreSharedBetweenProgramsAndReadOnce() throws {
    let backend = try CPUBackend(precision: .f32)
    let (small, large) = (Case(seed: 1), Case(seed: 1))
    func write(_ test: Case, _ size: Int) {
      let w = test.graph.transpose(test.graph.weight("w", [32, 16, 3, 3], .f32), [0, 2, 3, 1])
      let b = test.graph.weight("b", [32], .f32)
      test.graph.output(
        "y", test.graph.convolution(test.input([size, size, 16]), weight: w, bias: b, padding: Padding(1)))
    }
    write(small, 8)
    write(large, 12)
    small.weights.set("w", [32, 16, 3, 3], .f16, small.dice.floats(32 * 16 * 9))
    small.weights.set("b", [32], .f32, small.dice.floats(32))
    let first = try backend.compile(small.graph, weights: small.weights) { _ in }
    let second = try backend.compile(large.graph, weights: small.weights) { _ in }
    #expect(small.weights.reads == ["w": 1, "b": 1])
    for (program, test) in [(first, small), (second, large)] {
      for input in test.inputs { try input.bytes.withUnsafeBytes { try program.write(input.name, $0) } }
      try program.run()
      let reference = try ReferenceBackend().compile(test.graph, weights: small.weights) { _ in }
      for input in test.inputs { try input.bytes.withUnsafeBytes { try reference.write(input.name, $0) } }
      try reference.run()
      let expected = try #require(try Case.outputs(reference, test.graph)["y"])
      #expect(relativeError(try #require(try Case.outputs(program, test.graph)["y"]), expected) <= 1e-5)
    }
  }

  @Test func wrongNamesSizesAndWeightsAreRefused() throws {
    let test = Case(seed: 2)
    test.graph.output("y", test.graph.linear(test.input([3, 4]), weight: test.weight([5, 4])))
    let backend = try CPUBackend(precision: .f32)
    let program = try backend.compile(test.graph, weights: test.weights) { _ in }
    #expect(throws: EngineError.unknownName("nobody")) {
      try program.withOutput("nobody") { _ in }
    }
    #expect(throws: EngineError.byteCount("input 0", expected: 48, found: 4)) {
      try [UInt8](repeating: 0, count: 4).withUnsafeBytes { try program.write("input 0", $0) }
    }
    let graph = Graph()
    graph.output("y", graph.weight("absent", [2], .f32))
    #expect(throws: EngineError.missingWeight("absent")) {
      _ = try backend.compile(graph, weights: test.weights) { _ in }
    }
    let other = Graph()
    other.output("y", other.weight("w", [2, 3], .f32))
    test.weights.set("w", [3, 2], .f32, [1, 2, 3, 4, 5, 6])
    #expect(throws: EngineError.weightShape("w", expected: [2, 3], found: [3, 2])) {
      _ = try backend.compile(other, weights: test.weights) { _ in }
    }
  }

  @Test func profileTellsTheWorkOfEachOp() throws {
    let test = Case(seed: 3)
    let x = test.input([10, 10, 8])
    test.graph.output("y", test.graph.convolution(x, weight: test.weight([16, 3, 3, 8])))
    let program = try CPUBackend(precision: .f32).compile(test.graph, weights: test.weights) { _ in }
    let times = try program.profile()
    let operations = Double(2 * 8 * 8 * 16) * Double(9 * 8)
    #expect(times.map(\.operations) == [operations])
    #expect(times.allSatisfy { $0.cadence == .frame && $0.seconds > 0 })
    #expect(program.memory.weights >= 16 * 9 * 8 * 4)
  }

  @Test func peaksArePositive() throws {
    let peak = try CPUBackend.measurePeak(threads: 1)
    #expect(peak.values.allSatisfy { $0 > 1e6 })
    #expect(peak[.f32] != nil)
    #expect((peak[.bf16] != nil) == CPUBackend.hasBfloat16)
    #expect((peak[.i8] != nil) == CPUBackend.hasInt8)
  }

  @Test(arguments: [
    (false, false, 2.0, false), (true, false, 1.0, false), (true, false, 2.0, true), (true, true, 1.0, true),
    (true, true, 2.0, true),
  ])
  func bfloat16IsTakenOnlyWhereItIsQuicker(has: Bool, amx: Bool, gain: Double, isTaken: Bool) {
    #expect(CPUBackend.isBfloat16Quicker(has: has, amx: amx, gain: gain) == isTaken)
  }

  @Test func whatIsQuickerIsTakenHere() throws {
    #expect((tc_pair_gain() > 0) == (tc_multiplies_pairs() != 0))
    #expect(CPUBackend.hasBfloat16 || !CPUBackend.prefersBfloat16)
    #expect(try CPUBackend().preferredElement == (CPUBackend.prefersBfloat16 ? .bf16 : .f32))
  }
}
