import Dispatch

/// Runs `body`, which blocks, on a new thread. Tasks share as many threads as there are processors, so a task that blocks
/// would hold up others.
func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) -> Task<Result, any Error> {
  Task {
    try await withCheckedThrowingContinuation { continuation in
      DispatchQueue(label: "reader").async { continuation.resume(with: Swift.Result { try body() }) }
    }
  }
}
