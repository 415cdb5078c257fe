internal import CFuse
internal import Glibc
internal import SystemPackage

/// Unmounts with fusermount3(1), as unprivileged users must; `lazily` even if the mount is in use. Returns the
/// problem, or nil.
func runFusermount(unmounting path: FilePath, lazily isLazy: Bool) -> String? {
  let options = isLazy ? ["-u", "-z"] : ["-u"]
  var attributes = posix_spawnattr_t()
  unsafe posix_spawnattr_init(&attributes)
  defer { unsafe posix_spawnattr_destroy(&attributes) }
  // This thread blocks signals, and a child would inherit that.
  var none = sigset_t()
  unsafe sigemptyset(&none)
  unsafe posix_spawnattr_setsigmask(&attributes, &none)
  unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

  var child = pid_t()
  let result = unsafe path.withPlatformString { pathPointer in
    unsafe withArguments(["fusermount3"] + options + ["-q", "--"], pathPointer) { arguments in
      unsafe posix_spawnp(&child, "fusermount3", nil, &attributes, arguments, environ)
    }
  }
  guard result == 0 else { return "cannot run fusermount3: \(Errno(rawValue: result))" }
  var status: Int32 = 0
  while unsafe waitpid(child, &status, 0) < 0 {
    if errno != EINTR { return "cannot wait for fusermount3: \(Errno(rawValue: errno))" }
  }
  return status == 0 ? nil : "fusermount3 \(options.joined(separator: " ")) failed"
}

/// Calls `body` with a terminated array of C strings: `words`, then `last`.
private func withArguments<Result>(
  _ words: [String], _ last: UnsafePointer<CChar>,
  _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
  var arguments = unsafe words.map { unsafe strdup($0) }
  defer { unsafe arguments.forEach { unsafe free($0) } }
  unsafe arguments.append(strdup(last))
  unsafe arguments.append(nil)
  return unsafe arguments.withUnsafeMutableBufferPointer { buffer in
    // Never empty: the terminator is in it.
    unsafe body(buffer.baseAddress.unsafelyUnwrapped)
  }
}
