internal import Glibc

/// The limit of open files of this process: RLIMIT_NOFILE of setrlimit(2).
package enum OpenFileLimit {
  /// Raises the soft limit to the hard one, since a model may have more files than the 1,024 that a shell allows. The soft
  /// limit is low only for select(2), which this program does not use.
  package static func raise() {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0,
      limit.rlim_cur < limit.rlim_max
    else { return }
    limit.rlim_cur = limit.rlim_max
    unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }
}
