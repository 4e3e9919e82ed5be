/// Reads and checks the JSON header of a safetensors file.
enum SafetensorsHeader {
  struct Fault: Error {
    let fact: String
    init(_ fact: String) { self.fact = fact }
  }

  /// Bits of one element of each type of the format.
  private static let elementBits: [String: Int] = [
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
  ]
  private static let mostDimensions = 8

  /// Tensors, and the texts of `__metadata__`.
  static func parse(_ header: UnsafeRawBufferPointer, dataCount: Int) throws
    -> (records: [SafetensorsRecord], metadata: [String: String])
  {
    let json: JSON
    do { json = try JSON.parse(header) } catch let error as JSONError {
      throw Fault("the header is not JSON: \(error)")
    }
    guard let members = json.object?.members else { throw Fault("the header is \(json.kind), not an object") }
    let records = try members.compactMap { member in
      member.name == "__metadata__" ? nil : try record(member.name, member.value, dataCount: dataCount)
    }
    try checkCoverage(records, dataCount: dataCount)
    let texts = json.object?["__metadata__"]?.object?.members ?? []
    let metadata = texts.compactMap { member in member.value.string.map { (member.name, $0) } }
    return (records, Dictionary(metadata, uniquingKeysWith: { first, _ in first }))
  }

  private static func record(_ name: String, _ value: JSON, dataCount: Int) throws -> SafetensorsRecord {
    let title = "tensor \"\(name.prefix(200))\""
    guard let entry = value.object else { throw Fault("\(title) is \(value.kind), not an object") }
    guard let dtype = entry["dtype"]?.string else { throw Fault("\(title) has no dtype") }
    guard let bits = elementBits[dtype] else {
      throw Fault("\(title) has the unknown dtype \(dtype.prefix(40))")
    }
    let shape = try numbers(entry["shape"], "shape", title)
    let offsets = try numbers(entry["data_offsets"], "data_offsets", title)
    guard shape.count <= mostDimensions else { throw Fault("\(title) has \(shape.count) dimensions") }
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw Fault("\(title) has data_offsets \(offsets)")
    }
    guard offsets[1] <= dataCount else {
      throw Fault(
        "\(title) ends at byte \(offsets[1]) of the data, which has \(dataCount): the file is truncated")
    }
    guard let byteCount = byteCount(shape, bits: bits), byteCount == offsets[1] - offsets[0] else {
      throw Fault("\(title) is \(dtype)\(shape) but takes \(offsets[1] - offsets[0]) bytes")
    }
    return SafetensorsRecord(name: name, dtype: dtype, shape: shape, range: offsets[0]..<offsets[1])
  }

  private static func numbers(_ value: JSON?, _ key: String, _ title: String) throws -> [Int] {
    guard let array = value?.array else { throw Fault("\(title) has no \(key)") }
    return try array.map {
      guard let number = $0.int, number >= 0 else { throw Fault("\(title) has \($0.kind) in its \(key)") }
      return number
    }
  }

  /// Bytes of a tensor, or nil when the product of any of its sizes but zero does not fit an Int: others
  /// multiply some of them.
  private static func byteCount(_ shape: [Int], bits: Int) -> Int? {
    var count = bits / 8
    for size in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: max(size, 1))
      if overflow { return nil }
      count = product
    }
    return shape.contains(0) ? 0 : count
  }

  /// The format wants the tensors to cover the data with neither gaps nor overlaps.
  private static func checkCoverage(_ records: [SafetensorsRecord], dataCount: Int) throws {
    var end = 0
    var last = "the header"
    for record in records.sorted(by: {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }) {
      if record.range.lowerBound < end { throw Fault("tensor \"\(record.name)\" overlaps \(last)") }
      if record.range.lowerBound > end { throw Fault("a gap of bytes before tensor \"\(record.name)\"") }
      end = record.range.upperBound
      last = "tensor \"\(record.name)\""
    }
    guard end == dataCount else { throw Fault("\(dataCount - end) bytes after \(last)") }
  }
}
