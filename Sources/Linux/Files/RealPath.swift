internal import Glibc
package import SystemPackage

extension FilePath {
  /// The absolute path without symbolic links: realpath(3).
  package func withoutLinks() throws(Errno) -> FilePath {
    let result = unsafe withPlatformString { unsafe realpath($0, nil) }
    guard let result = unsafe result else { throw Errno(rawValue: errno) }
    defer { unsafe free(result) }
    return unsafe FilePath(platformString: result)
  }
}
