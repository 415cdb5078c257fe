import Glibc
import SystemPackage

/// What these tests need of the machine. A machine without it fails them; none is skipped.
enum Machine {
  /// Why nothing can be mounted here.
  struct Unfit: Error, CustomStringConvertible {
    let description: String
  }

  /// The programs that the tests run beside the command under test.
  private static let tools = [
    "cat", "cmp", "findmnt", "fusermount3", "jq", "ls", "mknod", "mount", "setpriv", "sh", "sha256sum",
    "umount",
    "unshare",
  ]

  /// Throws what is missing.
  static func check() throws(Unfit) {
    guard geteuid() == 0 else {
      throw Unfit(description: "the mount tests must run as root: they mount, and act as other users")
    }
    guard (try? Stat(FilePath("/dev/fuse")).type) == .characterSpecial else {
      throw Unfit(
        description: "there is no /dev/fuse: load the module (modprobe fuse) or give the container the device"
      )
    }
    let missing = tools.filter { tool in
      !["/usr/bin", "/bin", "/usr/sbin", "/sbin"].contains {
        (try? Stat(FilePath($0).appending(tool)).type) == .regular
      }
    }
    guard missing.isEmpty else {
      throw Unfit(description: "install what the mount tests run: \(missing.joined(separator: ", "))")
    }
    _ = try stmount
  }

  /// The built command, which lies beside the test bundle that is running.
  static var stmount: FilePath {
    get throws(Unfit) {
      guard let bundle = readLink("/proc/self/exe") else {
        throw Unfit(description: "/proc/self/exe cannot be read: is /proc mounted?")
      }
      let command = bundle.removingLastComponent().appending("stmount")
      guard (try? Stat(command).type) == .regular else {
        throw Unfit(description: "there is no \(command): build the command first (swift build)")
      }
      return command
    }
  }

  private static func readLink(_ link: FilePath) -> FilePath? {
    let target = unsafe link.withPlatformString { unsafe realpath($0, nil) }
    guard let target = unsafe target else { return nil }
    defer { unsafe free(target) }
    return unsafe FilePath(platformString: target)
  }
}
