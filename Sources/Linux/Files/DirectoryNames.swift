internal import Glibc
package import SystemPackage

extension FilePath {
  /// The names in this directory, hidden ones too, in the file system's order: opendir(3), readdir(3).
  package func entryNames() throws(Errno) -> [[UInt8]] {
    guard let directory = unsafe withPlatformString({ unsafe opendir($0) }) else {
      throw Errno(rawValue: errno)
    }
    defer { unsafe closedir(directory) }
    var names: [[UInt8]] = []
    while true {
      // readdir(3) tells its end from an error by errno alone.
      errno = 0
      guard let entry = unsafe readdir(directory) else {
        if errno != 0 { throw Errno(rawValue: errno) }
        break
      }
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe Array(bytes.prefix { $0 != 0 })
      }
      if name != Array(".".utf8), name != Array("..".utf8) { names.append(name) }
    }
    return names
  }
}
