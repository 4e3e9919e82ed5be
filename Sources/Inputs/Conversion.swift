import CV4L2
import CV4LConvert
import Frames

/// Makes I420 of a camera's own format with libv4lconvert: Bayer patterns, vendors' compressions and the
/// like.
final class Conversion {
  let target: PictureFormat
  /// What to set the camera to.
  private(set) var source: v4l2_format
  private var goal: v4l2_format
  private let data: OpaquePointer
  // The library keeps the descriptor, so the device must stay open.
  private let device: VideoDevice

  /// nil where the library knows no way from any of the camera's formats.
  init?(_ device: VideoDevice, width: Int, height: Int) {
    guard let data = v4lconvert_create(device.fd) else { return nil }
    var goal = v4l2_format()
    goal.type = UInt32(V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue)
    goal.fmt.pix.width = UInt32(width)
    goal.fmt.pix.height = UInt32(height)
    goal.fmt.pix.pixelformat = FourCC.yu12.code
    goal.fmt.pix.field = V4L2_FIELD_ANY.rawValue
    var source = v4l2_format()
    let isPossible =
      v4lconvert_try_format(data, &goal, &source) == 0 && goal.fmt.pix.pixelformat == FourCC.yu12.code
      && goal.fmt.pix.width % 2 == 0 && goal.fmt.pix.height % 2 == 0
      && (2...UInt32(PictureFormat.maximumSide)).contains(goal.fmt.pix.width)
      && (2...UInt32(PictureFormat.maximumSide)).contains(goal.fmt.pix.height)
    guard isPossible else {
      v4lconvert_destroy(data)
      return nil
    }
    self.data = data
    self.device = device
    self.source = source
    self.goal = goal
    target = PictureFormat(.i420, width: Int(goal.fmt.pix.width), height: Int(goal.fmt.pix.height))
  }
  deinit { v4lconvert_destroy(data) }

  /// Takes over what the driver answered, which must be what the library reckoned with.
  func settle(_ answer: v4l2_format) throws {
    guard answer.fmt.pix.pixelformat == source.fmt.pix.pixelformat,
      answer.fmt.pix.width == source.fmt.pix.width, answer.fmt.pix.height == source.fmt.pix.height
    else {
      throw InputError(
        .unavailable, "setting the format of camera \(device.path)",
        "the driver insists on \(FourCC(answer.fmt.pix.pixelformat)) "
          + "\(answer.fmt.pix.width)x\(answer.fmt.pix.height)",
        remedy: "end the program that holds the camera to that format")
    }
    source = answer
  }

  /// Gives the bytes written, nil for a frame that does not convert.
  func convert(_ bytes: UnsafeMutableRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
    let count = target.pixels.byteCount(width: target.width, height: target.height)!
    guard bytes.count <= Int(Int32.max), output.count >= count else { return nil }
    let written = v4lconvert_convert(
      data, &source, &goal, bytes.bindMemory(to: UInt8.self).baseAddress, Int32(bytes.count),
      output.bindMemory(to: UInt8.self).baseAddress, Int32(count))
    return Int(written) == count ? count : nil
  }
}
