import Glibc
import SystemPackage

/// The requirements of these tests. On a machine without them the tests fail; no test is skipped.
enum Machine {
  /// Why this machine cannot mount.
  struct Unfit: Error, CustomStringConvertible {
    let description: String
  }

  /// The programs that the tests run besides the command under test.
  private static let tools = [
    "automount", "bindfs", "cat", "cmp", "df", "findmnt", "fuser", "fusermount3", "ganesha.nfsd", "getfattr",
    "jq", "ls",
    "lsof", "man", "mandoc", "mkfs.ext4", "mknod", "mount", "nfs-cat", "nginx", "python3", "rclone", "rsync",
    "s3fs", "script",
    "setpriv", "sh", "sha256sum", "socat", "sshfs", "systemd-analyze", "umount", "unshare",
  ]

  /// Throws an error that names a missing requirement.
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

  /// The command under test.
  static var stmount: FilePath {
    get throws(Unfit) { try command("stmount") }
  }

  /// The command that lists, a link to the command under test.
  static var stls: FilePath {
    get throws(Unfit) { try link("stls") }
  }

  /// The command that packs.
  static var stpack: FilePath {
    get throws(Unfit) { try link("stpack") }
  }

  /// The program that prints the results of this reader for files.
  static var verdicts: FilePath {
    get throws(Unfit) { try command("verdicts") }
  }

  /// The repository that these tests are part of.
  static var repository: FilePath {
    FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
      .removingLastComponent()
  }

  /// The directory of the test bundle that is running.
  static var products: FilePath {
    get throws(Unfit) {
      guard let bundle = readLink("/proc/self/exe") else {
        throw Unfit(description: "/proc/self/exe cannot be read: is /proc mounted?")
      }
      return bundle.removingLastComponent()
    }
  }

  /// A built executable, which is in the directory of the test bundle.
  static func command(_ name: String) throws(Unfit) -> FilePath {
    let command = try products.appending(name)
    guard (try? Stat(command).type) == .regular else {
      throw Unfit(description: "there is no \(command): build the command first (swift build)")
    }
    return command
  }

  /// Another name of the built executable, made as the installation does: symlink(2).
  static func link(_ name: String) throws(Unfit) -> FilePath {
    let link = try command("stmount").removingLastComponent().appending(name)
    let result = unsafe link.withPlatformString { unsafe symlink("stmount", $0) }
    guard result == 0 || errno == EEXIST else {
      throw Unfit(description: "cannot make the link \(link): \(Errno(rawValue: errno))")
    }
    return link
  }

  private static func readLink(_ link: FilePath) -> FilePath? {
    let target = unsafe link.withPlatformString { unsafe realpath($0, nil) }
    guard let target = unsafe target else { return nil }
    defer { unsafe free(target) }
    return unsafe FilePath(platformString: target)
  }
}
