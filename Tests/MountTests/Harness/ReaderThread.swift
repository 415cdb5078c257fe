import Dispatch

/// Runs `body`, which blocks, on a thread of its own. Tasks have only as many threads as there are processors, and one that
/// blocks keeps one of them from all others.
func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) -> Task<Result, any Error> {
  Task {
    try await withCheckedThrowingContinuation { continuation in
      DispatchQueue(label: "reader").async { continuation.resume(with: Swift.Result { try body() }) }
    }
  }
}
