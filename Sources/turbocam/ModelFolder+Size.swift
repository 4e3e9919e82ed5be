import Diffusion
import Filter

extension ModelFolder {
  /// The size of picture that the model was made for.
  var nativePicture: PictureSize { PictureSize(width: nativeWidth, height: nativeHeight) }

  /// As large a picture in another shape.
  func nativePicture(inShape other: PictureSize) -> PictureSize {
    nativePicture.inShape(of: other, unit: sizeUnit)
  }
}
