import Diffusion
import Filter

extension ModelFolder {
  /// The size of picture that the model was made for.
  var nativePicture: PictureSize { PictureSize(width: nativeSize, height: nativeSize) }

  /// As large a picture in another shape.
  func nativePicture(inShape other: PictureSize) -> PictureSize {
    nativePicture.inShape(of: other, unit: sizeUnit)
  }
}
