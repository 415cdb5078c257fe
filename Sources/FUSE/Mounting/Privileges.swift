internal import Glibc
internal import Linux
package import SystemPackage

/// The privileges of this process that matter for mounting.
package struct Privileges: Sendable, Equatable {
  /// The effective user is root.
  package var isRoot: Bool
  /// CAP_SYS_ADMIN, which the kernel requires for mounting: capabilities(7).
  package var canMount: Bool
  /// Setuid programs such as fusermount3 do not help this process: PR_SET_NO_NEW_PRIVS.
  package var hasNoNewPrivileges: Bool
  /// A filter on system calls is in force: seccomp(2).
  package var isFiltered: Bool
  /// The AppArmor profile that confines this process, or nil.
  package var profile: String?
  /// fusermount3, found in PATH.
  package var fusermount: FilePath?
  /// fusermount3 belongs to root and is setuid.
  package var isFusermountSetuid: Bool
  /// PATH has the fusermount of FUSE 2, which cannot replace fusermount3.
  package var hasOldFusermount = false

  /// The privileges of this process: proc_pid_status(5), getenv(3), stat(2).
  package init() {
    isRoot = geteuid() == 0
    let status = TextFile.lines("/proc/self/status")
    func value(_ field: String) -> Substring? {
      status.first { $0.hasPrefix(field + ":") }?.split(whereSeparator: \.isWhitespace).dropFirst().first
    }
    let capabilities = value("CapEff").flatMap { UInt64($0, radix: 16) } ?? 0
    canMount = capabilities & 1 << 21 != 0
    hasNoNewPrivileges = value("NoNewPrivs") == "1"
    isFiltered = value("Seccomp") == "2"
    // "unconfined", or "docker-default (enforce)".
    let confinement =
      TextFile.lines("/proc/self/attr/apparmor/current").first
      ?? TextFile.lines("/proc/self/attr/current").first
    profile = confinement.flatMap { $0.hasSuffix(" (enforce)") ? String($0.dropLast(10)) : nil }
    fusermount = Self.find("fusermount3")
    // Debian has a link of that name beside fusermount3.
    hasOldFusermount = fusermount == nil && Self.find("fusermount") != nil
    let file = fusermount.flatMap { try? Stat($0) }
    isFusermountSetuid = file.map { $0.userID.rawValue == 0 && $0.permissions.contains(.setUserID) } ?? false
  }

  /// The path of a program in PATH, as posix_spawnp(3) finds it.
  private static func find(_ program: String) -> FilePath? {
    let path = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? "/bin:/usr/bin"
    return path.split(separator: ":").map { FilePath(String($0)).appending(program) }.first { file in
      unsafe file.withPlatformString { unsafe access($0, X_OK) } == 0
    }
  }
}
