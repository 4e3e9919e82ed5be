extension Reference {
  /// Y = Aᵀ [U ⊙ (Bᵀ d B)] A for each tile of 4x4 results, summed over channels before the last transform.
  static func winograd(_ settings: Convolution, _ operands: [Operand], _ result: TensorType) -> [Float] {
    let (input, weights) = (operands[0], operands[1].floats)
    let (height, width, channels) = (input.shape[0], input.shape[1], input.shape[2])
    let filters = result.shape[2]
    var sums = [Double](repeating: 0, count: result.count)
    for top in stride(from: 0, to: result.shape[0], by: 4) {
      for left in stride(from: 0, to: result.shape[1], by: 4) {
        let tiles = (0..<channels).map { channel in
          let tile = (0..<36).map { place in
            let (y, x) = (top + place / 6 - settings.padding.top, left + place % 6 - settings.padding.left)
            guard (0..<height).contains(y), (0..<width).contains(x) else { return 0.0 }
            return Double(input.floats[(y * width + x) * channels + channel])
          }
          return transformed(tile, by: winogradInput, size: 6)
        }
        for filter in 0..<filters {
          let products = (0..<36).map { place in
            let row = (place * (filters / 16) + filter / 16) * channels
            return (0..<channels).reduce(0.0) {
              $0 + Double(weights[(row + $1) * 16 + filter % 16]) * tiles[$1][place]
            }
          }
          let results = transformed(products, by: winogradOutput, size: 6)
          for (place, value) in results.enumerated() {
            let (y, x) = (top + place / 4, left + place % 4)
            guard y < result.shape[0], x < result.shape[1] else { continue }
            sums[(y * result.shape[1] + x) * filters + filter] = value
          }
        }
      }
    }
    return finish(sums, settings.epilogue, operands, filters)
  }

  /// M x Mᵀ of a square x, row by row.
  private static func transformed(_ x: [Double], by matrix: [[Double]], size: Int) -> [Double] {
    let half = matrix.map { row in
      (0..<size).map { column in (0..<size).reduce(0.0) { $0 + row[$1] * x[$1 * size + column] } }
    }
    return half.flatMap { left in
      matrix.map { row in zip(row, left).reduce(0.0) { $0 + $1.0 * $1.1 } }
    }
  }

  /// Bᵀ.
  private static let winogradInput: [[Double]] = [
    [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
  ]
  /// Aᵀ.
  private static let winogradOutput: [[Double]] = [
    [1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1],
  ]
}
