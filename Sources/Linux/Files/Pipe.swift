internal import Glibc
package import SystemPackage

/// A pipe whose ends are closed in children that execute another program: pipe(2), fcntl(2).
package func makePipe() throws(Errno) -> (reader: FileDescriptor, writer: FileDescriptor) {
  let ends: (readEnd: FileDescriptor, writeEnd: FileDescriptor)
  do {
    ends = try FileDescriptor.pipe()
  } catch {
    throw error as? Errno ?? .ioError
  }
  for end in [ends.readEnd, ends.writeEnd] { _ = fcntl(end.rawValue, F_SETFD, FD_CLOEXEC) }
  return (ends.readEnd, ends.writeEnd)
}
