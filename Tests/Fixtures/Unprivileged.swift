internal import Glibc

/// Runs `body` as a user who owns nothing, so that permissions hold even where the tests run as root.
///
/// Only for files, and only on the calling thread: setfsuid(2), which also sets the capabilities that go past
/// permissions aside. Where the tests do not run as root, `body` simply runs.
public func withoutPrivileges<Result>(_ body: () throws -> Result) rethrows -> Result {
  guard geteuid() == 0 else { return try body() }
  let nobody: uid_t = 65534
  setFileUser(nobody)
  defer { setFileUser(0) }
  return try body()
}

private func setFileUser(_ user: uid_t) {
  typealias Function = @convention(c) (uid_t) -> CInt
  // Glibc's module leaves <sys/fsuid.h> out.
  guard let symbol = unsafe dlsym(nil, "setfsuid") else { preconditionFailure("no setfsuid(2) in this libc") }
  _ = unsafe unsafeBitCast(symbol, to: Function.self)(user)
}
