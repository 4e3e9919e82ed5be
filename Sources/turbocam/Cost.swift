import Diffusion

/// A time beside its floor, as every table shows it.
struct Cost {
  var seconds: Double
  /// Floating-point operations; nil for what computes nothing.
  var operations: Double?
  /// Bytes read and written; nil for what is not bound by them.
  var bytes: Int?
  var floor: Double

  var members: [JSONObject.Member] {
    [
      JSONObject.Member(name: "ms", value: .number(significant(seconds * 1e3))),
      operations.map { JSONObject.Member(name: "gflop", value: .number(significant($0 / 1e9))) },
      bytes.map { JSONObject.Member(name: "mb", value: .number(significant(Double($0) / 1e6))) },
      JSONObject.Member(name: "floor_ms", value: .number(significant(floor * 1e3))),
      JSONObject.Member(name: "ratio", value: floor > 0 ? .number(significant(seconds / floor)) : .null),
    ].compactMap { $0 }
  }
}
