import Glibc

/// How near one picture is to another of the same size, both RGB with eight bits a channel.
enum Likeness {
  /// Peak signal-to-noise ratio in dB; infinite for equal pictures.
  static func psnr(_ a: [UInt8], _ b: [UInt8]) -> Double {
    let squares = zip(a, b).reduce(0) { $0 + (Int($1.0) - Int($1.1)) * (Int($1.0) - Int($1.1)) }
    guard squares > 0 else { return .infinity }
    return 10 * log10(255 * 255 * Double(a.count) / Double(squares))
  }

  /// Structural similarity of luma (Wang et al. 2004), the mean over squares of 8 pixels that overlap by
  /// half.
  static func ssim(_ a: [UInt8], _ b: [UInt8], width: Int, height: Int) -> Double {
    let (a, b) = (luma(a), luma(b))
    let size = min(8, width, height)
    var (sum, count) = (0.0, 0)
    for top in stride(from: 0, through: height - size, by: max(1, size / 2)) {
      for left in stride(from: 0, through: width - size, by: max(1, size / 2)) {
        let places = (0..<size * size).map { (top + $0 / size) * width + left + $0 % size }
        sum += similarity(places.map { a[$0] }, places.map { b[$0] })
        count += 1
      }
    }
    return sum / Double(count)
  }

  /// Rec. 601, 0...255.
  private static func luma(_ rgb: [UInt8]) -> [Double] {
    stride(from: 0, to: rgb.count, by: 3).map { place in
      let (red, green, blue) = (Double(rgb[place]), Double(rgb[place + 1]), Double(rgb[place + 2]))
      return 0.299 * red + 0.587 * green + 0.114 * blue
    }
  }

  private static func similarity(_ a: [Double], _ b: [Double]) -> Double {
    let n = Double(a.count)
    let (meanA, meanB) = (a.reduce(0, +) / n, b.reduce(0, +) / n)
    var (varA, varB, both) = (0.0, 0.0, 0.0)
    for (x, y) in zip(a, b) {
      varA += (x - meanA) * (x - meanA) / n
      varB += (y - meanB) * (y - meanB) / n
      both += (x - meanA) * (y - meanB) / n
    }
    let (c1, c2) = (6.5025, 58.5225)  // (0.01·255)², (0.03·255)²
    let light = (2 * meanA * meanB + c1) / (meanA * meanA + meanB * meanB + c1)
    return light * (2 * both + c2) / (varA + varB + c2)
  }
}
