import CFont

/// A picture that says what is the matter, for whoever watches when there is nothing else to show.
public enum Notice {
  private static let background: (UInt8, UInt8, UInt8) = (24, 26, 32)
  private static let ink: (UInt8, UInt8, UInt8) = (232, 232, 226)
  /// Letters are this part of the picture's height, where the text fits.
  private static let letterShare = 11
  private static let smallestLetter = 9

  /// Draws `text`, wrapped and centred, into `target`: rgb24, `width` x `height`, rows without padding.
  ///
  /// Characters outside ASCII show as a question mark. Does nothing where `target` is too small.
  public static func draw(_ text: String, width: Int, height: Int, into target: UnsafeMutableRawBufferPointer)
  {
    guard width > 0, height > 0, target.count >= width * height * 3 else { return }
    let pixels = target.bindMemory(to: UInt8.self)
    clear(pixels, count: width * height)
    let words = text.unicodeScalars.map { $0.isASCII ? UInt8($0.value) : UInt8(ascii: "?") }
    var letter = max(smallestLetter, min(height, width * 3 / 4) / letterShare)
    var lines = wrap(words, letter: letter, width: width)
    while lines.count * letter * 5 / 4 > height * 9 / 10, letter > smallestLetter {
      letter = max(smallestLetter, letter * 7 / 8)
      lines = wrap(words, letter: letter, width: width)
    }
    var y = (height - lines.count * letter * 5 / 4) / 2
    for line in lines {
      var x = (width - lineWidth(line, letter: letter)) / 2
      for character in line {
        draw(character, x: x, y: y, letter: letter, pixels, width: width, height: height)
        x += advance(character, letter: letter)
      }
      y += letter * 5 / 4
    }
  }

  private static func clear(_ pixels: UnsafeMutableBufferPointer<UInt8>, count: Int) {
    for pixel in 0..<count {
      pixels[pixel * 3] = background.0
      pixels[pixel * 3 + 1] = background.1
      pixels[pixel * 3 + 2] = background.2
    }
  }

  /// Breaks at spaces and line feeds so that lines fit in nine tenths of `width`; a longer word is cut.
  private static func wrap(_ text: [UInt8], letter: Int, width: Int) -> [ArraySlice<UInt8>] {
    let room = width * 9 / 10
    var lines: [ArraySlice<UInt8>] = []
    for paragraph in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      var rest = paragraph
      while true {
        var end = rest.startIndex
        var lastSpace: Int?
        var used = 0
        while end < rest.endIndex {
          used += advance(rest[end], letter: letter)
          if used > room, end > rest.startIndex { break }
          if rest[end] == UInt8(ascii: " ") { lastSpace = end }
          end += 1
        }
        if end == rest.endIndex {
          lines.append(rest)
          break
        }
        if rest[end] == UInt8(ascii: " ") { lastSpace = end }
        let cut = lastSpace ?? end
        lines.append(rest[rest.startIndex..<cut])
        rest = rest[(lastSpace == nil ? cut : cut + 1)...]
      }
    }
    return lines
  }

  private static func lineWidth(_ line: ArraySlice<UInt8>, letter: Int) -> Int {
    line.reduce(0) { $0 + advance($1, letter: letter) }
  }

  private static func advance(_ character: UInt8, letter: Int) -> Int {
    let height = Int(turbocam_font_height())
    return (Int(turbocam_font_advance(character)) * letter + height / 2) / height
  }

  /// Draws one glyph `letter` pixels high: each pixel is the mean over the square of the atlas that it
  /// covers.
  private static func draw(
    _ character: UInt8, x: Int, y: Int, letter: Int, _ pixels: UnsafeMutableBufferPointer<UInt8>, width: Int,
    height: Int
  ) {
    let atlasHeight = Int(turbocam_font_height())
    let atlasWidth = Int(turbocam_font_advance(character))
    for row in 0..<letter where (0..<height).contains(y + row) {
      let rows = span(row, of: letter, over: atlasHeight)
      for column in 0..<advance(character, letter: letter) where (0..<width).contains(x + column) {
        let columns = span(column, of: letter, over: atlasHeight)
        var sum = 0
        for atlasRow in rows {
          for atlasColumn in columns where atlasColumn < atlasWidth {
            sum += Int(turbocam_font_coverage(character, Int32(atlasColumn), Int32(atlasRow)))
          }
        }
        let full = rows.count * columns.count * 15
        blend(ink.0, background.0, sum, full, &pixels[((y + row) * width + x + column) * 3])
        blend(ink.1, background.1, sum, full, &pixels[((y + row) * width + x + column) * 3 + 1])
        blend(ink.2, background.2, sum, full, &pixels[((y + row) * width + x + column) * 3 + 2])
      }
    }
  }

  /// The atlas rows (or columns) behind pixel `index` of `count`; at least one.
  private static func span(_ index: Int, of count: Int, over atlas: Int) -> Range<Int> {
    let from = index * atlas / count
    return from..<max(from + 1, (index + 1) * atlas / count)
  }

  private static func blend(_ ink: UInt8, _ ground: UInt8, _ sum: Int, _ full: Int, _ pixel: inout UInt8) {
    pixel = UInt8((Int(ink) * sum + Int(ground) * (full - sum)) / full)
  }
}
