internal import Linux
internal import SystemPackage

/// The settings of `/etc/fuse.conf` for unprivileged users: fusermount3(1).
package struct FuseConfiguration: Sendable, Equatable {
  /// True if unprivileged users may use `allow_other` and `allow_root`.
  package var allowsOthers: Bool

  /// Reads the file; the defaults hold if it does not exist.
  package init() { self.init(lines: TextFile.lines("/etc/fuse.conf")) }

  init(lines: [Substring]) {
    allowsOthers = lines.contains { $0.split(whereSeparator: \.isWhitespace).first == "user_allow_other" }
  }
}
