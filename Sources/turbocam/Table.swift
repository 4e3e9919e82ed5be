import Diffusion
import Filter

extension JSON {
  /// For people: names and values in lines, nested ones indented, lists of objects as tables.
  var table: String { lines("").joined(separator: "\n") }

  private func lines(_ margin: String) -> [String] {
    switch self {
    case .object(let object): return Self.lines(object.members, margin)
    case .array(let items): return Self.rows(items.map { $0.object?.members ?? [] }).map { margin + $0 }
    default: return [margin + plain]
    }
  }

  /// Values that stand beside each other begin in the same column.
  private static func lines(_ members: [JSONObject.Member], _ margin: String) -> [String] {
    let width = members.filter { !$0.value.isNested }.map(\.name.count).max() ?? 0
    return members.flatMap { member -> [String] in
      guard member.value.isNested else {
        return ["\(margin)\(padded(member.name, width))  \(member.value.plain)"]
      }
      return ["\(margin)\(member.name)"] + member.value.lines(margin + "  ")
    }
  }

  /// A line of names, then a line an object: text to the left, numbers to the right.
  private static func rows(_ objects: [[JSONObject.Member]]) -> [String] {
    var names: [String] = []
    for member in objects.joined() where !names.contains(member.name) { names.append(member.name) }
    let columns = names.map { name -> [String] in
      let cells = objects.map { row in row.first { $0.name == name }?.value ?? .null }
      let decimals = decimals(of: cells)
      let texts = [name] + cells.map { cell in cell.double.map { fixed($0, decimals) } ?? cell.plain }
      let width = texts.map(\.count).max() ?? 0
      let isText = cells.contains { $0.string != nil }
      return texts.map { padded($0, width, right: !isText) }
    }
    return (0...objects.count).map { row in columns.map { $0[row] }.joined(separator: "  ") }
  }

  /// As many as the smallest of the numbers needs, four at most; none where all are whole.
  private static func decimals(of cells: [JSON]) -> Int {
    let numbers = cells.compactMap(\.double).map { abs($0) }.filter { $0 > 0 }
    guard let smallest = numbers.min(), numbers.contains(where: { $0 != $0.rounded() }) else { return 0 }
    switch smallest {
    case 10...: return 1
    case 1...: return 2
    case 0.1...: return 3
    default: return 4
    }
  }

  private static func padded(_ text: String, _ width: Int, right: Bool = false) -> String {
    let space = String(repeating: " ", count: max(width - text.count, 0))
    return right ? space + text : text + space
  }

  private var isNested: Bool { object != nil || array != nil }

  private var plain: String { isNull ? "–" : string ?? text }
}
