internal import Linux

/// Why a file system cannot be mounted.
package struct MountError: Error, CustomStringConvertible {
  /// The kind of failure, which decides a command's exit status.
  package enum Kind: Sendable {
    /// This machine has no FUSE, or lacks a part of it.
    case fuseUnavailable
    /// The mount point is no directory, in use, or dead.
    case mountPoint
    /// This user may not do that.
    case notPermitted
    /// The system failed.
    case system
  }

  /// The kind of failure.
  package let kind: Kind
  /// What is wrong and what would mend it, as one line; safe to print.
  package let description: String

  /// An error from its parts.
  package init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }
}
