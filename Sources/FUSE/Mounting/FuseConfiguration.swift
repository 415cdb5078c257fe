internal import Linux
internal import SystemPackage

/// What `/etc/fuse.conf` grants ordinary users: fusermount3(1).
package struct FuseConfiguration: Sendable, Equatable {
  /// `allow_other` and `allow_root` are for everybody.
  package var allowsOthers: Bool
  /// How many FUSE mounts ordinary users may have together.
  package var mountLimit: Int

  /// Reads the file; where there is none, its defaults.
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
