import Glibc

/// `value` with so many decimals.
func rounded(_ value: Double, _ decimals: Int) -> Double {
  let scale = pow(10, Double(decimals))
  return (value * scale).rounded() / scale
}

/// `value` printed with so many decimals.
func fixed(_ value: Double, _ decimals: Int) -> String {
  guard value.isFinite, abs(value) < 1e12 else { return "\(value)" }
  guard decimals > 0 else { return "\(Int(value.rounded()))" }
  let scale = Int(pow(10, Double(decimals)))
  let whole = Int((abs(value) * Double(scale)).rounded())
  let fraction = String(whole % scale)
  let sign = value < 0 && whole > 0 ? "-" : ""
  return "\(sign)\(whole / scale).\(String(repeating: "0", count: decimals - fraction.count))\(fraction)"
}

/// `value` with so many digits that count: tiny models have tiny numbers.
func significant(_ value: Double, digits: Int = 5) -> Double {
  guard value.isFinite, value != 0 else { return value }
  let scale = pow(10, Double(digits) - 1 - log10(abs(value)).rounded(.down))
  return (value * scale).rounded() / scale
}
