import CPUBackend
import CUDABackend
import Diffusion
import Filter
import Frames
import Inputs
import Outputs

/// Exit codes of sysexits.h.
enum ExitCode {
  static let usage: Int32 = 64
  static let dataError: Int32 = 65
  static let unavailable: Int32 = 69
  static let software: Int32 = 70
  static let system: Int32 = 71
  static let cannotCreate: Int32 = 73
  static let io: Int32 = 74
  static let configuration: Int32 = 78
}

/// A model that was asked for and is not there, or of a kind that is not known, is a matter of configuration:
/// unlike a camera, which has the same codes, it does not come by trying again (systemd/turbocam@.service).
private func exitCode(of kind: DiffusionError.Kind) -> Int32 {
  switch kind {
  case .usage: return ExitCode.usage
  case .data: return ExitCode.dataError
  case .cannotCreate: return ExitCode.cannotCreate
  case .io: return ExitCode.io
  case .noInput, .unavailable, .configuration: return ExitCode.configuration
  }
}

/// What the process ends with after `error`.
func exitCode(of error: any Error) -> Int32 {
  switch error {
  case is UsageError, is SettingsError: return ExitCode.usage
  case let error as InputError: return error.exitCode
  case let error as OutputError: return error.exitCode
  case let error as DiffusionError: return exitCode(of: error.kind)
  case let error as CPUError: return error.exitCode
  case let error as CUDAError: return error.exitCode
  case let error as BenchError: return error.code
  case is ThreadError: return ExitCode.system
  case is FrameError: return ExitCode.dataError
  default: return ExitCode.software
  }
}
