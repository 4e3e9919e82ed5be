import CDNNL
import Engine

/// A 3x3 convolution that is worth computing in tiles of 4x4 results by Winograd's minimal filtering F(4x4,
/// 3x3) (Lavin and Gray 2015, arXiv 1509.09308): 36 products where a plain one takes 144, in f32 because its
/// transforms subtract what is nearly equal.
///
/// Weights become four times as many. Small ones, for pictures so large that each is used often, are
/// transformed when the model is opened. Others stay in memory as they are in the file, and are transformed a
/// piece at a time in a core's own cache, in every frame.
struct WinogradConvolution {
  /// Whether weights are transformed when the model is opened.
  let transformsAtLoad: Bool

  /// Tiles below which moving transformed weights takes longer than what they save.
  private static let fewestTiles = 64
  /// Tiles below which transforming weights does, where plain products are of f32.
  private static let fewestTilesInF32 = 16
  private static let largeWeights = 4 << 20

  /// Whether a convolution of `picture` is better computed from it than in phases, doubled as its tiles are
  /// read (25 of 36 products: the others meet differences of equal pixels). In bf16 phases take as little,
  /// and are yet to be compared.
  static func upsamplesInput(_ node: Node, _ picture: TensorType, _ weight: Node) -> Bool {
    guard case .convolution(let settings) = node.op, node.type.element == .f32 else { return false }
    return WinogradConvolution(node, settings, source: picture, weight: weight) != nil
  }

  /// nil where a plain convolution is better.
  init?(_ node: Node, _ settings: Convolution, source: TensorType, weight: Node) {
    let (shape, element) = (weight.type.shape, node.type.element)
    guard settings.stride == 1, shape[1...2] == [3, 3], !settings.epilogue.scaled, weight.cadence == .load,
      node.cadence == .frame, shape[0] % 16 == 0, shape[3] % 16 == 0, source.element == element,
      element == .f32 || (element == .bf16 && !Self.hasMatrixTiles)
    else { return nil }
    let tiles = Self.tiles(of: node.type.shape)
    guard tiles >= (element == .f32 ? Self.fewestTilesInF32 : Self.fewestTiles) else { return nil }
    transformsAtLoad = tiles >= Self.fewestTiles && 36 * 4 * shape[0] * shape[3] <= Self.largeWeights
  }

  /// Tiles that cover a picture `[H, W, C]`.
  static func tiles(of shape: [Int]) -> Int { (shape[0] + 3) / 4 * ((shape[1] + 3) / 4) }

  /// AMX multiplies sixteen times as many bf16 as vectors do f32: nothing is saved then.
  private static let hasMatrixTiles = DNNL.has(dnnl_cpu_isa_avx512_core_amx)
}
