/// Byte-pair encoding (Sennrich 2016) of CLIP: a word's bytes, the last marked `</w>`, joined pair by pair in
/// the order in which the pairs were learnt.
struct BytePairEncoding: Sendable {
  /// A token's name in bytes: Swift's String takes canonically equivalent names for equal, vocabularies do
  /// not.
  struct Name: Hashable, Sendable {
    let bytes: [UInt8]
    init(_ text: some StringProtocol) { bytes = Array(text.utf8) }
  }

  private struct Pair: Hashable, Sendable {
    let left, right: Int32
  }
  private struct Merge: Sendable {
    let rank: Int
    let result: Int32
  }

  private let ids: [Name: Int32]
  private let names: [Int32: String]
  private let merges: [Pair: Merge]
  private let unknown: Int32
  /// Ids of each byte's character, inside a word and at its end.
  private let inner, last: [Int32]

  /// What is wrong with a vocabulary.
  struct Fault: Error { let fact: String }

  /// `merges` in the order in which they were learnt.
  init(vocabulary: JSONObject, merges: [(String, String)], unknown: String) throws {
    var ids: [Name: Int32] = [:]
    var names: [Int32: String] = [:]
    ids.reserveCapacity(vocabulary.members.count)
    for member in vocabulary.members {
      guard let id = member.value.int, (0...Config.largest).contains(id) else {
        throw Fault(fact: "the token \"\(member.name.prefix(60))\" has \(member.value.kind) for its number")
      }
      ids[Name(member.name)] = Int32(id)
      names[Int32(id)] = member.name
    }
    guard let unknownID = ids[Name(unknown)] else {
      throw Fault(fact: "the vocabulary lacks the unknown token \"\(unknown.prefix(60))\"")
    }
    self.ids = ids
    self.names = names
    self.unknown = unknownID
    inner = ByteLevel.scalars.map { ids[Name(String($0))] ?? unknownID }
    last = ByteLevel.scalars.map { ids[Name(String($0) + "</w>")] ?? unknownID }
    self.merges = try Self.table(merges, ids)
  }

  private static func table(_ merges: [(String, String)], _ ids: [Name: Int32]) throws -> [Pair: Merge] {
    var table: [Pair: Merge] = [:]
    table.reserveCapacity(merges.count)
    for (rank, (left, right)) in merges.enumerated() {
      guard let leftID = ids[Name(left)], let rightID = ids[Name(right)], let result = ids[Name(left + right)]
      else {
        throw Fault(
          fact:
            "the merge \"\(left.prefix(40)) \(right.prefix(40))\" (number \(rank)) is not in the vocabulary")
      }
      // Of a pair given twice the later counts, as in the tokenizers library.
      table[Pair(left: leftID, right: rightID)] = Merge(rank: rank, result: result)
    }
    return table
  }

  func id(of name: String) -> Int32? { ids[Name(name)] }
  func name(of id: Int32) -> String? { names[id] }

  /// Tokens of one word.
  func encode(_ word: ArraySlice<Unicode.Scalar>) -> [Int32] {
    let bytes = word.flatMap { Array(String($0).utf8) }
    var parts = bytes.enumerated().map { $0 == bytes.count - 1 ? last[Int($1)] : inner[Int($1)] }
    // What each part would become with its right neighbour.
    var candidates = parts.indices.map { merge(parts, at: $0) }
    while let index = earliest(candidates), let merge = candidates[index] {
      parts[index] = merge.result
      parts.remove(at: index + 1)
      candidates.remove(at: index + 1)
      candidates[index] = self.merge(parts, at: index)
      if index > 0 { candidates[index - 1] = self.merge(parts, at: index - 1) }
    }
    return parts
  }

  private func merge(_ parts: [Int32], at index: Int) -> Merge? {
    index + 1 < parts.count ? merges[Pair(left: parts[index], right: parts[index + 1])] : nil
  }

  /// The pair learnt first, the leftmost of several.
  private func earliest(_ candidates: [Merge?]) -> Int? {
    var best: (index: Int, rank: Int)?
    for (index, merge) in candidates.enumerated() {
      guard let merge, merge.rank < best?.rank ?? Int.max else { continue }
      best = (index, merge.rank)
    }
    return best?.index
  }
}
