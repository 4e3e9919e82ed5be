import Engine
import Testing

@Suite struct PlanTests {
  @Test func deadNodesAreInNoProgram() {
    let graph = Graph()
    let x = graph.input("x", [4], .f32, .frame)
    _ = graph.activation(x, .silu)
    graph.output("y", graph.activation(x, .relu))
    let plan = Plan(graph)
    #expect(plan.frame.map { graph[$0].op } == [.activation(.relu)])
    #expect(plan.load.isEmpty && plan.settings.isEmpty)
  }

  @Test func settingsAreGroupedByTheInputsTheyDependOn() {
    let graph = Graph()
    let prompt = graph.activation(graph.input("prompt", [4], .f32, .settings), .silu)
    let strength = graph.activation(graph.input("strength", [4], .f32, .settings), .silu)
    let both = graph.add(prompt, strength)
    graph.output("y", both)
    let plan = Plan(graph)
    #expect(plan.settings.map { plan.masks[$0.index] } == [1, 2, 3])
    // What another group reads must outlive its own run.
    #expect([prompt, strength, both].allSatisfy { plan.residences[$0.index] == .held })
  }

  @Test func whatTheFrameReadsOfTheSettingsIsHeld() {
    let graph = Graph()
    let inner = graph.activation(graph.input("s", [4], .f32, .settings), .silu)
    let outer = graph.activation(inner, .relu)
    graph.output("y", graph.add(graph.input("x", [4], .f32, .frame), outer))
    let plan = Plan(graph)
    #expect(plan.residences[outer.index] == .held)
    #expect(plan.residences[inner.index] == .arena(0))
  }

  /// What fusion makes of weights comes last in a graph, and all weights would have to lie in memory until then.
  @Test func eachLoadValueComesRightAfterItsParts() {
    let graph = Graph()
    let weights = (0..<6).map { graph.weight("\($0)", [4, 4], .f32) }
    let x = graph.input("x", [2, 4], .f32, .frame)
    let single = graph.cast(weights[2], .f16)
    graph.output("z", graph.linear(graph.cast(x, .f16), weight: single))
    let pairs = [(0, 1), (3, 4), (0, 5)].map { graph.concat([weights[$0], weights[$1]], axis: 0) }
    for (number, pair) in pairs.enumerated() { graph.output("\(number)", graph.linear(x, weight: pair)) }
    let plan = Plan(graph)
    let needed = Set(pairs + [single])
    let steps = LoadSchedule(plan) { needed.contains($0) }.steps
    #expect(
      steps.map(\.value) == [
        weights[0], weights[1], pairs[0], weights[5], pairs[2], weights[2], single, weights[3], weights[4],
        pairs[1],
      ])
    #expect(
      steps.map(\.drops) == [
        [], [], [weights[1], pairs[0]], [], [weights[0], weights[5], pairs[2]], [], [weights[2], single], [],
        [],
        [weights[3], weights[4], pairs[1]],
      ])
  }

  @Test func reshapesAndSlicesAreViews() {
    let graph = Graph()
    let x = graph.activation(graph.input("x", [6, 2, 4], .f32, .frame), .silu)
    let flat = graph.reshape(x, [12, 4])
    let rows = graph.slice(flat, axis: 0, start: 3, count: 5)
    let channels = graph.slice(rows, axis: 1, start: 1, count: 2)
    graph.output("y", graph.activation(rows, .relu))
    graph.output("z", graph.activation(channels, .relu))
    let rules = LayoutRules(readsStrided: { _, _ in true }, overwrites: { _ in [] })
    let layouts = Plan(graph, rules: rules).layouts
    #expect(layouts[flat.index] == Layout(root: x, offset: 0, rowStride: 4))
    #expect(layouts[rows.index] == Layout(root: x, offset: 12, rowStride: 4))
    #expect(layouts[channels.index] == Layout(root: x, offset: 13, rowStride: 4))
    let copying = Plan(graph).layouts
    #expect(copying[channels.index] == Layout(root: channels, rowStride: 2))
  }

  @Test func aDyingOperandGivesItsMemoryToTheResult() {
    let graph = Graph()
    let a = graph.activation(graph.input("x", [64], .f32, .frame), .silu)
    let b = graph.activation(a, .relu)
    let c = graph.activation(b, .tanh)
    graph.output("y", graph.add(c, b))
    let rules = LayoutRules(readsStrided: { _, _ in false }, overwrites: { _ in [0] })
    let plan = Plan(graph, rules: rules)
    #expect(plan.layouts[b.index].root == a, "a dies where b is made")
    #expect(plan.layouts[c.index].root == c, "b is read again")
    #expect(plan.arenaSize == 2 * 64 * 4)
  }

  /// A part of a value may become as large as the whole. It is written from the beginning, over what is yet to
  /// be read.
  @Test(arguments: [false, true]) func aPartThatGrowsTakesNoMemory(isCast: Bool) {
    let graph = Graph()
    let whole = graph.activation(graph.input("x", [16], .f16, .frame), .silu)
    let part = graph.slice(whole, axis: 0, start: 0, count: 8)
    let wide =
      isCast ? graph.cast(part, .f32) : graph.affine(part, scale: 2, offset: 1, element: .f32)
    graph.output("y", graph.activation(wide, .relu))
    let plan = Plan(graph, rules: Self.anywhere)
    #expect(plan.layouts[part.index] == Layout(root: whole, rowStride: 8))
    #expect(plan.layouts[wide.index].root == wide)
  }

  /// Which settings a frame's values depend on says nothing about their memory.
  @Test func aResidualGivesItsMemoryToWhatDependsOnMoreSettings() throws {
    let written = Graph()
    let x = written.activation(written.input("x", [8, 8, 4], .f32, .frame), .silu)
    let first = written.convolution(x, weight: written.weight("v", [4, 3, 3, 4], .f32), padding: Padding(1))
    let second = written.convolution(
      first, weight: written.weight("w", [4, 3, 3, 4], .f32),
      bias: written.input("time", [4], .f32, .settings), padding: Padding(1))
    written.output("y", written.affine(written.add(second, x), scale: 2, offset: 1))
    let graph = Fusion.run(written)
    let plan = Plan(graph, rules: Self.anywhere)
    let epilogue = Epilogue(bias: true, residual: true)
    let sum = try #require(
      plan.frame.first { graph[$0].op == .convolution(Convolution(padding: Padding(1), epilogue: epilogue)) })
    let residual = try #require(graph[sum].inputs.last)
    #expect(plan.layouts[sum.index].root == plan.layouts[residual.index].root)
    #expect(plan.masks[sum.index] == 0)
  }

  private static let anywhere = LayoutRules(
    readsStrided: { _, _ in true }, writesStrided: { _ in true }, overwrites: LayoutRules.inPlace)

  @Test func partsAreWrittenWhereTheConcatenationIs() {
    let graph = Graph()
    let x = graph.activation(graph.input("x", [2, 3, 8], .f32, .frame), .silu)
    let skip = graph.affine(x, scale: 2, offset: 0)
    let deep = graph.activation(skip, .relu)
    // As an attention block leaves it: rows of tokens that become a picture again.
    let tokens = graph.affine(graph.reshape(deep, [6, 8]), scale: 3, offset: 0)
    let picture = graph.reshape(tokens, [2, 3, 8])
    let joined = graph.concat([picture, skip], axis: 2)
    let last = graph.affine(joined, scale: 1, offset: 1)
    graph.output("y", last)
    let plan = Plan(graph, rules: Self.anywhere)
    #expect(plan.layouts[tokens.index] == Layout(root: joined, offset: 0, rowStride: 16))
    #expect(plan.layouts[picture.index] == plan.layouts[tokens.index])
    #expect(plan.layouts[skip.index] == Layout(root: joined, offset: 8, rowStride: 16))
    #expect(plan.frame == [x, skip, deep, tokens, last])
    // From where its first part is written, the concatenation has memory that nothing else has.
    expectApart(plan)
  }

  @Test(arguments: ["output", "odd", "twice", "dense", "rows"])
  func whatCannotLieApartIsCopied(why: String) {
    let graph = Graph()
    let width = why == "odd" ? 3 : 8
    let x = graph.input("x", [2, 3, width], .f32, .frame)
    let a = graph.activation(x, .silu)
    let b = graph.activation(x, .relu)
    if why == "output" { graph.output("a", a) }
    let joined = graph.concat(why == "twice" ? [a, a] : [a, b], axis: why == "rows" ? 0 : 2)
    graph.output("y", graph.affine(joined, scale: 1, offset: 1))
    graph.output("z", graph.activation(a, .tanh))
    let rules = LayoutRules(
      readsStrided: { node, _ in why != "dense" || node.op != .activation(.tanh) },
      writesStrided: { _ in true }, overwrites: { _ in [] })
    let plan = Plan(graph, rules: rules)
    #expect(plan.frame.contains(joined))
    #expect(plan.layouts[a.index].root == a)
  }

  /// A chain with side branches: at every step, the blocks of all values alive must lie apart.
  @Test(arguments: 0..<40) func valuesAliveTogetherLieApart(seed: Int) {
    var state = UInt64(seed) &* 2_862_933_555_777_941_757 &+ 3_037_000_493
    func pick(_ count: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % count
    }
    let graph = Graph()
    var values = [graph.input("x", [96], .f32, .frame)]
    for index in 0..<60 {
      let source = values[max(0, values.count - 1 - pick(6))]
      if pick(3) == 0, graph.shape(source)[0] <= 96 {
        let other = graph.activation(source, .relu)
        let joined = graph.concat([graph.affine(source, scale: 2, offset: 0), other], axis: 0)
        values.append(pick(2) == 0 ? other : joined)
        continue
      }
      let count = 1 + pick(graph.shape(source)[0])
      let part = graph.slice(source, axis: 0, start: 0, count: count)
      let copy = graph.concat([part, part], axis: 0)
      values.append(graph.affine(copy, scale: Float(index), offset: 1))
    }
    graph.output("y", values[values.count - 1])
    expectApart(Plan(graph, rules: Self.anywhere))
  }

  private func expectApart(_ plan: Plan) {
    var lastUse = Array(plan.graph.nodes.indices)
    var firstUse = lastUse
    var isLive = plan.graph.nodes.indices.map { index in
      plan.graph.outputs.contains { $0.value.index == index }
    }
    for (index, node) in plan.graph.nodes.enumerated().reversed() where isLive[index] {
      for input in node.inputs { isLive[input.index] = true }
    }
    for (index, node) in plan.graph.nodes.enumerated() where isLive[index] {
      for input in node.inputs {
        let root = plan.layouts[input.index].root
        lastUse[root.index] = max(lastUse[root.index], index)
      }
      let own = plan.layouts[index].root
      lastUse[own.index] = max(lastUse[own.index], index)
      firstUse[own.index] = min(firstUse[own.index], index)
    }
    let blocks = plan.residences.indices.compactMap { index -> (Range<Int>, ClosedRange<Int>)? in
      guard case .arena(let offset) = plan.residences[index] else { return nil }
      let size = plan.graph.nodes[index].type.byteCount
      return (offset..<offset + size, firstUse[index]...max(index, lastUse[index]))
    }
    for (i, a) in blocks.enumerated() {
      #expect(a.0.lowerBound % 64 == 0 && a.0.upperBound <= plan.arenaSize)
      for b in blocks[(i + 1)...] {
        #expect(!(a.0.overlaps(b.0) && a.1.overlaps(b.1)))
      }
    }
  }
}
