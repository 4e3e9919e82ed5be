import Frames
import Synchronization

/// Makes painters in the background, one after the other, while another one works.
public final class PainterLoader: Sendable {
  /// Carries a painter from the thread that made it to the one that uses it, which never both have it.
  private struct Parcel: @unchecked Sendable {
    var painter: any Painter
  }
  private struct State {
    /// What was asked for last; what else is finished is let go.
    var wanted: PainterShape?
    var building: PainterShape?
    var progress: (text: String, fraction: Double) = ("loading model", 0)
    var done: Parcel?
    var failure: (any Error)?
  }
  private let maker: any PainterMaker
  private let state = Mutex(State())

  public init(_ maker: any PainterMaker) { self.maker = maker }

  /// What is being done, nil while nothing is.
  public var progress: (text: String, fraction: Double)? {
    state.withLock { $0.building == nil ? nil : $0.progress }
  }

  /// The painter of `shape` once it is made; starts making it if nobody does. Throws, once, why it cannot
  /// be made. Call again until it is there, or `forget`.
  func painter(_ shape: PainterShape) throws -> (any Painter)? {
    let finished = want(shape)
    guard finished == nil else { return try finished?.get().painter }
    // What came of it may have come since.
    state.withLock { if $0.building == nil, $0.done == nil, $0.failure == nil { start(shape, &$0) } }
    return nil
  }

  /// Nobody waits for a painter any more.
  func forget() { _ = want(nil) }

  /// From now on `shape` is wanted. Gives what came of it, once; lets go of what came of another.
  private func want(_ shape: PainterShape?) -> Result<Parcel, any Error>? {
    // A painter that nobody wants any more ends with this function, outside the lock.
    var (done, failure): (Parcel?, (any Error)?)
    let before = state.withLock { state in
      (done, failure) = (state.done, state.failure)
      (state.done, state.failure) = (nil, nil)
      defer { state.wanted = shape }
      return state.wanted
    }
    guard before == shape else { return nil }
    return done.map(Result.success) ?? failure.map(Result.failure)
  }

  private func start(_ shape: PainterShape, _ state: inout State) {
    state.building = shape
    state.progress = ("loading model", 0)
    do {
      _ = try StageThread("loader") { [self] in
        // Only now that it is gone: the next one may need its memory.
        if !deliver(shape) { self.state.withLock { $0.building = nil } }
      }
    } catch {
      (state.building, state.failure) = (nil, error)
    }
  }

  /// Makes a painter of `shape` and hands over what came of it; false where nobody wants it any more, and it ends with
  /// this function.
  private func deliver(_ shape: PainterShape) -> Bool {
    let result = Result<Parcel, any Error> {
      Parcel(
        painter: try maker.make(shape) { text, fraction in
          state.withLock { $0.progress = (text, fraction) }
        })
    }
    return state.withLock {
      guard $0.wanted == shape else { return false }
      $0.building = nil
      switch result {
      case .success(let parcel): $0.done = parcel
      case .failure(let error): $0.failure = error
      }
      return true
    }
  }
}
