import Glibc
import Safetensors

/// A pattern for a whole tensor name: fnmatch(3). `*` matches `/` and leading dots too.
struct NamePattern {
  /// The pattern as it was given.
  let bytes: [UInt8]
  private let terminated: [CChar]

  /// A pattern of the command line.
  init(_ bytes: [UInt8]) {
    TextEncoding.choose()
    self.bytes = bytes
    terminated = bytes.map { CChar(truncatingIfNeeded: $0) } + [0]
  }

  /// A name in the form for ``matches(_:)``. A NUL, which would end it, becomes another control character.
  static func text(of name: TensorName) -> [CChar] {
    name.utf8.map { CChar(truncatingIfNeeded: $0 == 0 ? 1 : $0) } + [0]
  }

  /// True if the pattern matches a name: see ``text(of:)``.
  func matches(_ text: [CChar]) -> Bool { unsafe fnmatch(terminated, text, 0) == 0 }
}
