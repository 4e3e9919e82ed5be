import CTurboJPEG
import Glibc

/// Where up to four planes lie, as libav wants to know it.
struct Planes {
  var pointers = InlineArray<4, UnsafeMutablePointer<UInt8>?>(repeating: nil)
  var strides = InlineArray<4, Int32>(repeating: 0)
}

extension Planes {
  /// Whether rows of `width` pixels are whole vectors at addresses that vector stores can write to.
  func areAligned(width: Int) -> Bool {
    guard width % 32 == 0 else { return false }
    for plane in 0..<3 {
      guard Int(bitPattern: pointers[plane]) % 32 == 0, strides[plane] % 32 == 0 else { return false }
    }
    return true
  }

  /// Pixels that one chroma sample of a JPEG covers.
  static func step(_ subsampling: Int32) -> (x: Int, y: Int) {
    switch subsampling {
    case Int32(TJSAMP_422.rawValue): return (2, 1)
    case Int32(TJSAMP_420.rawValue): return (2, 2)
    case Int32(TJSAMP_440.rawValue): return (1, 2)
    case Int32(TJSAMP_411.rawValue): return (4, 1)
    default: return (1, 1)
    }
  }

  /// Moves the start of each plane to the corner of `area`.
  mutating func advance(to area: Area, subsampling: Int32) {
    let step = Planes.step(subsampling)
    pointers[0] = pointers[0].map { $0 + area.y * Int(strides[0]) + area.x }
    for plane in 1...2 {
      pointers[plane] = pointers[plane].map { $0 + area.y / step.y * Int(strides[plane]) + area.x / step.x }
    }
  }
}

extension PictureFormat {
  /// Where the planes of `area` lie in a picture of this format that starts at `base`.
  func planes(of area: Area, at base: UnsafeMutableRawPointer) -> Planes {
    let bytes = base.assumingMemoryBound(to: UInt8.self)
    var planes = Planes()
    let chroma = bytes + width * height
    switch pixels {
    case .jpeg: break
    case .rgb24: place(0, bytes, area.x * 3, area.y, stride: width * 3)
    case .yuyv: place(0, bytes, area.x * 2, area.y, stride: width * 2)
    case .nv12:
      place(0, bytes, area.x, area.y, stride: width)
      place(1, chroma, area.x, area.y / 2, stride: width)
    case .i420:
      place(0, bytes, area.x, area.y, stride: width)
      place(1, chroma, area.x / 2, area.y / 2, stride: width / 2)
      place(2, chroma + width * height / 4, area.x / 2, area.y / 2, stride: width / 2)
    }
    return planes

    func place(_ plane: Int, _ start: UnsafeMutablePointer<UInt8>, _ x: Int, _ y: Int, stride: Int) {
      planes.pointers[plane] = start + y * stride + x
      planes.strides[plane] = Int32(stride)
    }
  }

  /// How many of the last rows of `crop` hold more bytes than swscale may read too far.
  func tailRows(of crop: Area) -> Int {
    let shortest = crop.width / pixels.chromaStep.x
    let rows = 2 * ((Scratch.slack + shortest - 1) / shortest)
    // A slice starts on a whole chroma row.
    let head = max(0, crop.height - rows) / 2 * 2
    return crop.height - head
  }

  /// Copies rows `first` to the end of `crop` to `room`.
  func copyTail(
    _ source: Planes, _ crop: Area, from first: Int, into room: UnsafeMutableRawPointer
  ) -> Planes {
    var rest = crop
    rest.height -= first
    let copy = alignedPlanes(rest, at: room)
    var from = source
    for plane in 0..<3 {
      let row = plane == 0 ? first : first / pixels.chromaStep.y
      from.pointers[plane] = source.pointers[plane].map { $0 + row * Int(source.strides[plane]) }
    }
    copyRows(of: rest, from: from, to: copy)
    return copy
  }

  /// Copies the rows of a picture of the size of `area`.
  func copyRows(of area: Area, from source: Planes, to target: Planes) {
    for plane in 0..<3 {
      guard let from = source.pointers[plane], let to = target.pointers[plane] else { continue }
      let count = rowByteCount(plane, area.width)
      for row in 0..<area.height / (plane == 0 ? 1 : pixels.chromaStep.y) {
        memcpy(to + row * Int(target.strides[plane]), from + row * Int(source.strides[plane]), count)
      }
    }
  }

  /// Bytes of a picture of the size of `area` whose rows all start on a cache line.
  func alignedByteCount(_ area: Area) -> Int {
    (0..<3).reduce(0) { $0 + aligned(rowByteCount($1, area.width)) * planeRows($1, area.height) }
  }

  /// The planes of such a picture at `base`.
  func alignedPlanes(_ area: Area, at base: UnsafeMutableRawPointer) -> Planes {
    var planes = Planes()
    var at = base.assumingMemoryBound(to: UInt8.self)
    for plane in 0..<3 {
      let stride = aligned(rowByteCount(plane, area.width))
      guard stride > 0 else { continue }
      planes.pointers[plane] = at
      planes.strides[plane] = Int32(stride)
      at += stride * planeRows(plane, area.height)
    }
    return planes
  }

  private func aligned(_ count: Int) -> Int { (count + 63) / 64 * 64 }

  private func planeRows(_ plane: Int, _ height: Int) -> Int {
    plane == 0 ? height : height / pixels.chromaStep.y
  }

  private func rowByteCount(_ plane: Int, _ width: Int) -> Int {
    switch (pixels, plane) {
    case (.rgb24, 0): return width * 3
    case (.yuyv, 0): return width * 2
    case (.nv12, 0), (.i420, 0), (.nv12, 1): return width
    case (.i420, 1), (.i420, 2): return width / 2
    default: return 0
    }
  }
}
