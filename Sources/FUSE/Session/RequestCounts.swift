internal import Synchronization

/// The kinds of request that a session answers, as SIGUSR1's log line names them.
package enum RequestKind: Int, CaseIterable, Sendable {
  case lookup, getattr, open, opendir, read, readdir, statfs, getxattr, listxattr
}

/// The numbers of requests and answers of a session, since it was mounted.
package struct RequestCounts: Sendable, Equatable, CustomStringConvertible {
  /// The requests by kind, without kinds that never occurred.
  package let requests: [RequestKind: UInt64]
  /// The bytes of files that were sent to the kernel.
  package let bytesRead: UInt64
  /// The requests that failed. A missing name is an answer, not a failure.
  package let errors: UInt64

  /// The counts in one line, such as `read 12, statfs 1; 4096 bytes read, 0 errors`.
  package var description: String {
    let kinds = RequestKind.allCases.compactMap { kind in requests[kind].map { "\(kind) \($0)" } }
    let list = kinds.isEmpty ? "no requests" : kinds.joined(separator: ", ")
    return "\(list); \(bytesRead) bytes read, \(errors) errors"
  }
}

/// The counters behind ``RequestCounts``: one relaxed addition for each event, on any thread.
final class RequestCounters: Sendable {
  private let requests = InlineArray<9, Atomic<UInt64>> { _ in Atomic(0) }
  private let bytesRead = Atomic<UInt64>(0)
  private let errors = Atomic<UInt64>(0)

  func count(_ kind: RequestKind) { requests[kind.rawValue].wrappingAdd(1, ordering: .relaxed) }

  func countRead(_ bytes: Int) { bytesRead.wrappingAdd(UInt64(clamping: bytes), ordering: .relaxed) }

  func countError() { errors.wrappingAdd(1, ordering: .relaxed) }

  var current: RequestCounts {
    var counts: [RequestKind: UInt64] = [:]
    for kind in RequestKind.allCases {
      let count = requests[kind.rawValue].load(ordering: .relaxed)
      if count > 0 { counts[kind] = count }
    }
    return RequestCounts(
      requests: counts, bytesRead: bytesRead.load(ordering: .relaxed), errors: errors.load(ordering: .relaxed)
    )
  }
}
