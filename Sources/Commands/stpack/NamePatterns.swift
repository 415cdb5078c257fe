import Glibc
import Linux
import Models
import Safetensors
import TensorFiles

/// Which tensors are packed, by their names in the inputs: `--include` and `--exclude`.
struct NamePatterns {
  let included: [String]
  let excluded: [String]

  /// Keeps what some pattern includes, if there are any, and none excludes. A pattern that includes nothing is a mistake.
  func filter(_ tensors: [PackedTensor]) throws(Failure) -> [PackedTensor] {
    var used = Set<String>()
    let kept = tensors.filter { tensor in
      let name = Self.terminated(tensor.tensor.name)
      let including = included.filter { Self.matches(name, $0) }
      used.formUnion(including)
      return (included.isEmpty || !including.isEmpty)
        && !excluded.contains { Self.matches(name, $0) }
    }
    if let unused = included.first(where: { !used.contains($0) }) {
      throw Failure(
        status: EX_NOINPUT, "no tensor's name matches --include \(PrintableText.quoted(unused))")
    }
    return kept
  }

  /// The name as a C string. A NUL in it, which would end it, is another control character there.
  private static func terminated(_ name: TensorName) -> [CChar] {
    name.utf8.map { CChar(bitPattern: $0 == 0 ? 1 : $0) } + [0]
  }

  /// fnmatch(3) on the whole name: `*` matches `/` and leading dots too.
  private static func matches(_ name: [CChar], _ pattern: String) -> Bool {
    unsafe fnmatch(pattern, name, 0) == 0
  }
}
