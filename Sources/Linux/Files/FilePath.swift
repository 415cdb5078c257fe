internal import Glibc
package import SystemPackage

extension FilePath {
  /// The path with these bytes, none of which is NUL.
  package init(bytes: some Collection<UInt8>) {
    let terminated = bytes.map { CInterop.PlatformChar(bitPattern: $0) } + [0]
    self = unsafe terminated.withUnsafeBufferPointer { buffer in
      // The buffer has at least the terminator, so it has an address.
      unsafe buffer.baseAddress.map { unsafe FilePath(platformString: $0) } ?? FilePath()
    }
  }

  /// The path's bytes as the file system has them, not necessarily UTF-8.
  package var bytes: [UInt8] {
    unsafe withPlatformString { pointer in
      unsafe Array(UnsafeRawBufferPointer(start: pointer, count: length))
    }
  }

  /// The last component's bytes; empty if the path has none.
  package var fileName: [UInt8] { lastComponent.map { FilePath(root: nil, [$0]).bytes } ?? [] }

  /// The path of the directory that it is in; `.` for a lone name.
  package var parent: FilePath {
    let parent = removingLastComponent()
    return parent.isEmpty ? "." : parent
  }

  /// The absolute path without symbolic links: realpath(3).
  package func withoutLinks() throws(Errno) -> FilePath {
    let result = unsafe withPlatformString { unsafe realpath($0, nil) }
    guard let result = unsafe result else { throw Errno(rawValue: errno) }
    defer { unsafe free(result) }
    return unsafe FilePath(platformString: result)
  }

  /// The target of a symbolic link: readlink(2). Throws EINVAL for any other file.
  package func linkTarget() throws(Errno) -> FilePath {
    var target = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = unsafe withPlatformString { unsafe readlink($0, &target, target.count) }
    guard count >= 0 else { throw Errno(rawValue: errno) }
    return FilePath(bytes: target[..<count].map { UInt8(bitPattern: $0) })
  }
}
