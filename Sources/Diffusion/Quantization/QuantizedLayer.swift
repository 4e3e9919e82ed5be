import Engine

/// A product of the UNet that int8 is worth while for, and the values that it reads.
struct QuantizedLayer {
  /// `down_blocks.1.resnets.0.conv1`
  var name: String
  /// One for each step.
  var inputs: [Value]

  /// All of a graph that has not been fused: products of frames, but for the first and the last convolution,
  /// whose rounding is seen at once, and those after doubling, which are cheaper in phases
  /// (`Fusion.splitUpsampling`).
  static func find(in graph: Graph) -> [QuantizedLayer] {
    var found: [QuantizedLayer] = []
    var positions: [String: Int] = [:]
    for node in graph.nodes where node.cadence == .frame {
      guard let name = name(of: node, graph), !["conv_in", "conv_out"].contains(name) else { continue }
      if case .upsampleNearest = graph[node.inputs[0]].op { continue }
      if let position = positions[name] {
        found[position].inputs.append(node.inputs[0])
      } else {
        positions[name] = found.count
        found.append(QuantizedLayer(name: name, inputs: [node.inputs[0]]))
      }
    }
    return found
  }

  private static func name(of node: Node, _ graph: Graph) -> String? {
    switch node.op {
    case .convolution, .linear: break
    default: return nil
    }
    var weight = graph[node.inputs[1]]
    while let source = weight.inputs.first { weight = graph[source] }
    guard case .weight(let path) = weight.op, path.hasPrefix("unet/"), path.hasSuffix(".weight") else {
      return nil
    }
    return String(path.dropFirst("unet/".count).dropLast(".weight".count))
  }

  /// Layers that read the same values have their steps in common: they are one product for the engine, or at
  /// least read what is quantized once. Only neighbours, such as queries, keys and values; others have steps
  /// of their own.
  static func groups(_ layers: [QuantizedLayer]) -> [QuantizedGroup] {
    var groups: [QuantizedGroup] = []
    for layer in layers {
      let place = layer.name.split(separator: ".").dropLast().joined(separator: ".")
      let index = groups.lastIndex { $0.inputs == layer.inputs && $0.place == place }
      if let index {
        groups[index].members.append(layer.name)
      } else {
        groups.append(QuantizedGroup(place: place, inputs: layer.inputs, members: [layer.name]))
      }
    }
    return groups
  }
}

/// Products that read the same values.
struct QuantizedGroup {
  /// What their names have in common.
  let place: String
  let inputs: [Value]
  var members: [String]

  /// The tensor of input steps.
  var scaleName: String { (members.count == 1 ? members[0] : place) + "." + Int8Weights.inputName }
}
