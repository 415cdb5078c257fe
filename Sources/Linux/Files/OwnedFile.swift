internal import Glibc
package import SystemPackage

/// A descriptor that is closed with the last reference to this object.
package final class OwnedFile: Sendable {
  /// The descriptor, open for as long as this object lives.
  package let descriptor: FileDescriptor

  /// Takes over a descriptor.
  package init(_ descriptor: FileDescriptor) { self.descriptor = descriptor }

  /// A duplicate of a descriptor: fcntl(2) with F_DUPFD_CLOEXEC. Nil if the process can have no more.
  package convenience init?(duplicating file: FileDescriptor) {
    let copy = fcntl(file.rawValue, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { return nil }
    self.init(FileDescriptor(rawValue: copy))
  }

  deinit { try? descriptor.close() }
}
