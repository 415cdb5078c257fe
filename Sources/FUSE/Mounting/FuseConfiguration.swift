internal import Linux
internal import SystemPackage

/// The settings of `/etc/fuse.conf` for unprivileged users: fusermount3(1).
package struct FuseConfiguration: Sendable, Equatable {
  /// True if unprivileged users may use `allow_other` and `allow_root`.
  package var allowsOthers: Bool
  /// The maximum number of FUSE mounts of all unprivileged users together.
  package var mountLimit: Int

  /// Reads the file; the defaults hold if it does not exist.
  package init() { self.init(lines: TextFile.lines("/etc/fuse.conf")) }

  init(lines: [Substring]) {
    allowsOthers = false
    mountLimit = 1000
    for line in lines {
      let words = line.split { $0.isWhitespace || $0 == "=" }
      if words.first == "user_allow_other" { allowsOthers = true }
      if words.first == "mount_max", words.count > 1, let limit = Int(words[1]) { mountLimit = limit }
    }
  }
}
