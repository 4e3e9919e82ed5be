import Frames
import Synchronization

/// Makes painters in the background, one after the other, while another one works.
public final class PainterLoader: Sendable {
  /// Carries a painter from the thread that made it to the one that uses it, which never both have it.
  private struct Parcel: @unchecked Sendable {
    var painter: any Painter
  }
  private struct State {
    var building: PainterShape?
    var progress: (text: String, fraction: Double) = ("loading model", 0)
    var done: Parcel?
    var failure: (shape: PainterShape, error: any Error)?
  }
  private let maker: any PainterMaker
  private let state = Mutex(State())

  public init(_ maker: any PainterMaker) { self.maker = maker }

  /// What is being done, nil while nothing is.
  public var progress: (text: String, fraction: Double)? {
    state.withLock { $0.building == nil ? nil : $0.progress }
  }

  /// The painter of `shape` once it is made; starts making it if nobody does. Throws, once, why it cannot
  /// be made. Call again until it is there.
  func painter(_ shape: PainterShape) throws -> (any Painter)? {
    var finished: Parcel?
    let failure: (any Error)? = state.withLock {
      if let failed = $0.failure {
        $0.failure = nil
        if failed.shape == shape { return failed.error }
      }
      finished = $0.done
      $0.done = nil
      // One that nobody wants any more ends here, outside the lock.
      if let parcel = finished, parcel.painter.shape == shape { return nil }
      if $0.building == nil { start(shape, &$0) }
      return nil
    }
    if let failure { throw failure }
    guard let painter = finished?.painter, painter.shape == shape else { return nil }
    return painter
  }

  private func start(_ shape: PainterShape, _ state: inout State) {
    state.building = shape
    state.progress = ("loading model", 0)
    _ = StageThread("loader") { [self] in
      let result = Result<Parcel, any Error> {
        Parcel(
          painter: try maker.make(shape) { text, fraction in
            self.state.withLock { $0.progress = (text, fraction) }
          })
      }
      self.state.withLock {
        $0.building = nil
        switch result {
        case .success(let parcel): $0.done = parcel
        case .failure(let error): $0.failure = (shape, error)
        }
      }
    }
  }
}
