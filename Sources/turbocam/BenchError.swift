/// Why a bench came to no result.
struct BenchError: Error, CustomStringConvertible {
  var text: String
  var code = ExitCode.software
  var description: String { text }
}
