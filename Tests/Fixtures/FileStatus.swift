internal import Glibc
public import SystemPackage

/// Changes to the attributes of a file.
extension FilePath {
  /// Sets the permission bits: chmod(2).
  public func setPermissions(_ bits: UInt32) throws(Errno) {
    let result = unsafe withPlatformString { unsafe chmod($0, bits) }
    if result != 0 { throw Errno(rawValue: errno) }
  }

  /// Sets owner and group, which only root may do: chown(2).
  public func setOwner(_ owner: UInt32, group: UInt32) throws(Errno) {
    let result = unsafe withPlatformString { unsafe chown($0, owner, group) }
    if result != 0 { throw Errno(rawValue: errno) }
  }

  /// Sets access and modification time, in seconds and nanoseconds: utimensat(2).
  public func setTimes(
    access: (seconds: Int, nanoseconds: Int), modification: (seconds: Int, nanoseconds: Int)
  ) throws(Errno) {
    let times = [
      timespec(tv_sec: access.seconds, tv_nsec: access.nanoseconds),
      timespec(tv_sec: modification.seconds, tv_nsec: modification.nanoseconds),
    ]
    let result = unsafe withPlatformString { unsafe utimensat(AT_FDCWD, $0, times, 0) }
    if result != 0 { throw Errno(rawValue: errno) }
  }
}
