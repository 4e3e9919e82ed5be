import Base
import Frames
import Glibc

/// One picture in memory: rgb24, rows without padding.
public struct RGBPicture: Equatable, Sendable {
  public var bytes: [UInt8]
  public var width: Int
  public var height: Int

  public init(bytes: [UInt8], width: Int, height: Int) {
    self.bytes = bytes
    self.width = width
    self.height = height
  }
}

/// Picture files of every kind that libav reads: PNG, JPEG, WebP, BMP, TIFF …
public enum PictureFile {
  /// Reads the picture at `path`, upright as its EXIF note says; of a video, the first. Throws `InputError`:
  /// `.missing`, `.denied`, or `.wrongKind` for what is no whole picture or too large.
  public static func read(_ path: String) throws -> RGBPicture {
    let place = MediaPlace(file: path)
    try place.checkFile()
    return try decode(MediaReader(place, stop: StopFlag()), MediaPicture())
  }

  static func decode(_ reader: MediaReader, _ picture: MediaPicture) throws -> RGBPicture {
    while true {
      switch try reader.step() {
      case .nothing: continue
      case .end:
        throw InputError(
          .wrongKind, "reading \(reader.place)", "it is damaged: no whole picture can be decoded",
          remedy: "try ffprobe on it, or another file")
      case .picture:
        try picture.prepare(reader)
        var bytes = [UInt8](repeating: 0, count: picture.byteCount)
        guard bytes.withUnsafeMutableBytes({ picture.write(reader.frame, into: $0) }) else {
          throw InputError(
            .wrongKind, "reading \(reader.place)", "its picture cannot be converted",
            remedy: "convert it with ffmpeg -pix_fmt yuv420p")
        }
        return try rgb(bytes, picture.format)
      case .jpeg:
        let decoder = try JPEGDecoder()
        let info = try decoder.info(reader.packetBytes)
        var bytes = [UInt8](repeating: 0, count: info.width * info.height * 3)
        try bytes.withUnsafeMutableBytes { _ = try decoder.decode(reader.packetBytes, into: $0) }
        return RGBPicture(bytes: bytes, width: info.width, height: info.height)
      }
    }
  }

  private static func rgb(_ bytes: [UInt8], _ format: PictureFormat) throws -> RGBPicture {
    guard format.pixels != .rgb24 else {
      return RGBPicture(bytes: bytes, width: format.width, height: format.height)
    }
    let target = PictureFormat(.rgb24, width: format.width, height: format.height)
    var converted = [UInt8](repeating: 0, count: format.width * format.height * 3)
    let converter = try PictureConverter(to: target)
    try bytes.withUnsafeBytes { from in
      try converted.withUnsafeMutableBytes { try converter.convert(from, format, into: $0) }
    }
    return RGBPicture(bytes: converted, width: format.width, height: format.height)
  }
}

extension MediaPlace {
  /// Says plainly what libav would hide behind "invalid data".
  func checkFile() throws {
    let attempt = "opening \(self)"
    var status = stat()
    guard stat(name, &status) == 0 else {
      let number = errno
      if number == EACCES {
        throw InputError(.denied, attempt, errorText(number), remedy: "change the mode of its folder")
      }
      throw InputError(
        .missing, attempt, "there is no such file: \(errorText(number))",
        remedy: "check the path; --help lists what else an input may be")
    }
    switch status.st_mode & S_IFMT {
    case S_IFDIR:
      throw InputError(.wrongKind, attempt, "it is a folder", remedy: "name a file in it")
    case S_IFCHR, S_IFBLK:
      throw InputError(
        .wrongKind, attempt, "it is a device, not a file",
        remedy: "turbocam devices lists the cameras, /dev/videoN")
    case S_IFIFO:
      throw InputError(
        .wrongKind, attempt, "it is a named pipe",
        remedy: "write to a file or, with ffmpeg, to an srt:// address and name that")
    case S_IFSOCK:
      throw InputError(
        .wrongKind, attempt, "it is a socket", remedy: "name a file, or an rtsp://, http:// or srt:// address"
      )
    case S_IFREG where status.st_size > 0: break
    case S_IFREG:
      throw InputError(.wrongKind, attempt, "it is empty", remedy: "choose another file")
    default:
      throw InputError(.wrongKind, attempt, "it is no file", remedy: "name a picture or video file")
    }
    guard access(name, R_OK) == 0 else {
      throw InputError(.denied, attempt, errorText(errno), remedy: "change its mode or owner")
    }
  }
}
