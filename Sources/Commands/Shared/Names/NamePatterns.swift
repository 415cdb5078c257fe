import Glibc
import Linux
import Models
import Safetensors

/// Which tensors are chosen, by their names: `--include` and `--exclude`.
struct NamePatterns {
  private let included: [Pattern]
  private let excluded: [Pattern]

  /// A pattern of fnmatch(3).
  private struct Pattern {
    let text: [UInt8]
    let terminated: [CChar]

    init(_ argument: String) {
      text = argument.argumentBytes
      terminated = text.map { CChar(bitPattern: $0) } + [0]
    }
  }

  /// Patterns of the command line.
  init(including included: [String], excluding excluded: [String]) {
    TextEncoding.choose()
    self.included = included.map(Pattern.init)
    self.excluded = excluded.map(Pattern.init)
  }

  /// True if some pattern includes the name, if there are any, and none excludes it.
  func contains(_ name: TensorName) -> Bool {
    let name = Self.terminated(name)
    return (included.isEmpty || included.contains { Self.matches(name, $0) })
      && !excluded.contains { Self.matches(name, $0) }
  }

  /// The models with the tensors that are chosen. A pattern that includes nothing, and nothing that is left, are errors.
  func filter(_ collection: ModelCollection) throws(Failure) -> ModelCollection {
    if included.isEmpty, excluded.isEmpty { return collection }
    try checkUse(
      collection.components.lazy.map(\.model).flatMap { model in model.places.lazy.map(model.name) })
    let chosen = collection.keeping(contains)
    guard !chosen.components.isEmpty else {
      throw Failure(status: EX_NOINPUT, "--include and --exclude leave no tensor")
    }
    return chosen
  }

  /// Throws where a pattern includes none of these names: it is a mistake then.
  func checkUse(_ names: some Sequence<TensorName>) throws(Failure) {
    var unused = Array(included.indices)
    for name in names where !unused.isEmpty {
      let name = Self.terminated(name)
      unused.removeAll { Self.matches(name, included[$0]) }
    }
    guard let position = unused.first else { return }
    throw Failure(
      status: EX_NOINPUT,
      "no tensor's name matches --include \(PrintableText.quoted(included[position].text))")
  }

  /// The name as a C string. A NUL in it, which would end it, is another control character there.
  private static func terminated(_ name: TensorName) -> [CChar] {
    name.utf8.map { CChar(bitPattern: $0 == 0 ? 1 : $0) } + [0]
  }

  /// fnmatch(3) on the whole name: `*` matches `/` and leading dots too.
  private static func matches(_ name: [CChar], _ pattern: Pattern) -> Bool {
    unsafe fnmatch(pattern.terminated, name, 0) == 0
  }
}
