internal import Glibc

/// Runs `body` as a user who owns nothing, so that permissions apply even if root runs the tests.
///
/// Affects only files, and only the calling thread: setfsuid(2), which also drops the capabilities that bypass
/// permissions. If another user runs the tests, only runs `body`.
public func withoutPrivileges<Result>(_ body: () throws -> Result) rethrows -> Result {
  guard geteuid() == 0 else { return try body() }
  let nobody: uid_t = 65534
  setFileUser(nobody)
  defer { setFileUser(0) }
  return try body()
}

private func setFileUser(_ user: uid_t) {
  typealias Function = @convention(c) (uid_t) -> CInt
  // Glibc's module lacks <sys/fsuid.h>.
  guard let symbol = unsafe dlsym(nil, "setfsuid") else { preconditionFailure("no setfsuid(2) in this libc") }
  _ = unsafe unsafeBitCast(symbol, to: Function.self)(user)
}
