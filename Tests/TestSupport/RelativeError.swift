/// |a − b| / |b| in the Euclidean norm; infinite where a number is not finite or the counts differ.
public func relativeError(_ a: [Float], _ b: [Float]) -> Double {
  guard a.count == b.count else { return .infinity }
  var difference = 0.0
  var size = 0.0
  for (x, y) in zip(a, b) {
    difference += (Double(x) - Double(y)) * (Double(x) - Double(y))
    size += Double(y) * Double(y)
  }
  guard difference.isFinite else { return .infinity }
  return size == 0 ? difference.squareRoot() : (difference / size).squareRoot()
}
