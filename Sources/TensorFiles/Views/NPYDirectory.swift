internal import Linux
package import Models
package import Safetensors
package import SystemPackage

/// A directory of NumPy files, such as a copy of a mount's `.npy`: `a/b.npy` is the tensor `a/b`.
package struct NPYDirectory: Sendable {
  /// The suffix of a NumPy file's name.
  package static let suffix = Array(".npy".utf8)

  /// The files' paths, relative to the directory.
  package private(set) var paths: [[UInt8]] = []
  /// The number of other files, which are left out.
  package private(set) var otherCount = 0

  private let root: RootDirectory

  /// Lists the directory and its subdirectories. Symbolic links are not followed.
  package init(opening path: FilePath) throws(ModelError) {
    root = try RootDirectory(opening: path)
    try list([])
  }

  private mutating func list(_ directory: [UInt8]) throws(ModelError) {
    let path = directory.isEmpty ? root.path : root.path.pushing(FilePath(bytes: directory))
    for name in try path.entries() {
      let relative = directory.isEmpty ? name : directory + [UInt8(ascii: "/")] + name
      let full = path.pushing(FilePath(bytes: name))
      let type = try ModelError.translating("open", full) {
        try Stat(full, followTargetSymlink: false).type
      }
      if type == .directory {
        try list(relative)
      } else if Self.isNPY(name) {
        paths.append(relative)
      } else {
        otherCount += 1
      }
    }
  }

  /// True for the name of a NumPy file.
  package static func isNPY(_ name: [UInt8]) -> Bool { name.suffix(suffix.count).elementsEqual(suffix) }

  /// The tensor's name for a path or file name with the suffix.
  package static func name(of path: [UInt8]) throws(PathDecoder.Problem) -> TensorName {
    try PathDecoder.name(of: path.dropLast(suffix.count))
  }

  /// Opens one of ``paths``. A symbolic link is refused.
  package func open(_ path: [UInt8]) throws(ModelError) -> SourceFile { try root.open(path) }
}
