import Base
import CCUDA
import Engine

/// How a product is computed: with our kernel in a tile, or by cuBLASLt.
enum ProductChoice: Equatable {
  case tile(TileChoice)
  /// Which of the library's proposals.
  case library(Int)

  /// "128x64x3/2": tile and splits; "cublaslt 1".
  var text: String {
    switch self {
    case .tile(let choice): return "\(choice.tile.text)/\(choice.splits)"
    case .library(let rank): return "cublaslt \(rank)"
    }
  }

  /// nil for what no version of ours writes.
  init?(_ text: Substring) {
    if text.hasPrefix("cublaslt "), let rank = Int(text.dropFirst("cublaslt ".count)),
      (0..<LibraryProduct.algorithms).contains(rank)
    {
      self = .library(rank)
      return
    }
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let splits = Int(parts[1]), TileChoice.splits.contains(splits) else { return nil }
    guard let tile = (Tile.all + Tile.warpgroups).first(where: { $0.text == parts[0] }) else { return nil }
    self = .tile(TileChoice(tile: tile, splits: splits))
  }
}

/// Products that take the same time: what is chosen for one is chosen for all.
struct ProductShape: Hashable {
  /// "f16 1024x1280x1280 1x1/1 bias residual"
  let text: String

  init(_ p: tc_cuda_product, _ element: String, sums: ElementType) {
    let rows = Int(p.out_height * p.out_width)
    let depth = Int(p.kernel_rows * p.kernel_columns * p.channels)
    var words = [
      element, "\(rows)x\(p.filters)x\(depth)", "\(p.kernel_rows)x\(p.kernel_columns)/\(p.stride)",
    ]
    if sums != .f32 { words.append("sums-\(sums)") }
    if p.bias != 0 { words.append("bias") }
    if p.moments != 0 { words.append("norm") }
    if p.residual != 0 { words.append("residual") }
    if p.activation != TC_IDENTITY { words.append("activation-\(p.activation)") }
    if p.geglu != 0 { words.append("geglu") }
    if p.joins_phases != 0 { words.append("phases") }
    if p.x_stride != p.channels || p.result_stride != p.filters { words.append("strided") }
    text = words.joined(separator: " ")
  }
}

/// What was measured to be fastest on one GPU with one driver, for all starts of the program after the first.
///
/// A table that is missing, damaged or of other kernels only means that it is measured again. What was
/// measured among other candidates is another table: the fastest of some says nothing of those that were not
/// tried.
struct ChoiceTable {
  private let cache: KernelCache
  private let key: String
  private var choices: [String: ProductChoice] = [:]
  /// What was measured beside other work, and is to be measured again after the next start.
  private var unsure: Set<String> = []
  private(set) var isChanged = false
  var count: Int { choices.count }

  /// `library`: cuBLASLt's version where it takes part; `warpgroups`: whether Hopper's do.
  init(_ context: GPUContext, _ cache: KernelCache, library: Int?, warpgroups: Bool) {
    self.cache = cache
    var hash = FNV()
    hash.add(context.device.uuid)
    hash.add("\(context.driver.version) \(context.device.capability) \(KernelSources.hash) \(library ?? 0)")
    hash.add(context.driver.library.path)
    if warpgroups { hash.add("warpgroups") }
    // What of the library's proposals a rank counts.
    hash.add("sums of splits in f32")
    key = "choices-sm_\(context.device.capability)-\(hexadecimal(hash.value, digits: 16))"
    let text = cache.read(key).map { String(decoding: $0, as: UTF8.self) } ?? ""
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: "=", omittingEmptySubsequences: false)
      if parts.count == 2, let choice = ProductChoice(parts[1]) { choices[String(parts[0])] = choice }
    }
  }

  subscript(shape: ProductShape) -> ProductChoice? { choices[shape.text] }

  /// `isSure`: nothing else ran on the GPU meanwhile that we know of.
  mutating func set(_ choice: ProductChoice, for shape: ProductShape, isSure: Bool) {
    choices[shape.text] = choice
    if isSure { isChanged = true } else { unsure.insert(shape.text) }
  }

  mutating func save() {
    guard isChanged else { return }
    let lines = choices.filter { !unsure.contains($0.key) }.sorted { $0.key < $1.key }.map {
      "\($0.key)=\($0.value.text)\n"
    }
    cache.write(key, Array(lines.joined().utf8))
    isChanged = false
  }
}
