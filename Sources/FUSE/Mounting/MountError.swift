/// Why a file system cannot be mounted.
package struct MountError: Error, CustomStringConvertible {
  /// The kind of failure, which decides a command's exit status.
  package enum Kind: Sendable {
    /// This machine has no FUSE, or lacks a part of it.
    case fuseUnavailable
    /// The mount point is not a directory, in use, or dead.
    case mountPoint
    /// Not permitted for this user.
    case notPermitted
    /// The system failed.
    case system
  }

  /// The kind of failure.
  package let kind: Kind
  /// The problem and the remedy, as one line; safe to print.
  package let description: String

  /// An error from its parts.
  package init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }
}
