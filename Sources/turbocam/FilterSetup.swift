import Diffusion
import Filter

/// What stands between input and outputs: the stage and what it works by.
struct FilterSetup {
  var stage: any FilterStage
  var settings: SettingsBox
  /// nil where there is no model.
  var loader: PainterLoader?
  /// Names for people.
  var model: String
  var device: String
  /// What people should know about the device.
  var note: String?
  /// Those that the model's folder lists.
  var styles: [Styles.Style] = []

  /// `--model none`.
  static func none(_ settings: Settings) -> FilterSetup {
    FilterSetup(
      stage: PassStage(mirror: settings.mirror), settings: SettingsBox(settings), loader: nil, model: "none",
      device: "none")
  }
}
