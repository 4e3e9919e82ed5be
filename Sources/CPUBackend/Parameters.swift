/// What a kernel reads, at a place that C may keep, with the packed forms that it points into.
final class Parameters<Values> {
  let pointer: UnsafeMutablePointer<Values>
  private let keep: [Buffer]

  init(_ values: Values, keep: [Buffer] = []) {
    pointer = .allocate(capacity: 1)
    pointer.initialize(to: values)
    self.keep = keep
  }

  deinit {
    pointer.deinitialize(count: 1)
    pointer.deallocate()
  }
}
