import Glibc
import Linux
import Models
import Safetensors

/// Which tensors are chosen, by their names in the inputs: `--include` and `--exclude`.
///
/// It is applied before a tensor is checked, so problems of tensors that are left out do not matter.
final class NameSelection {
  private let included: [NamePattern]
  private let excluded: [NamePattern]
  /// Which of ``included`` have not matched yet, by position.
  private var unused: Set<Int>
  /// The number of the input from which ``excluded`` has left out each name.
  private var excludedNames: [TensorName: Int] = [:]
  private var inputNumber = 0
  /// A name that was left out of two inputs.
  private(set) var excludedTwice: TensorName?

  /// Patterns of the command line.
  init(including included: [String], excluding excluded: [String]) {
    self.included = included.map { NamePattern($0.argumentBytes) }
    self.excluded = excluded.map { NamePattern($0.argumentBytes) }
    unused = Set(included.indices)
  }

  /// The names that follow are from another input.
  func beginInput() { inputNumber += 1 }

  /// True if a pattern of ``included`` matches the name, or there is none, and no pattern of ``excluded`` matches it.
  func contains(_ name: TensorName) -> Bool {
    if included.isEmpty, excluded.isEmpty { return true }
    let text = NamePattern.text(of: name)
    let including = included.indices.filter { included[$0].matches(text) }
    unused.subtract(including)
    if !included.isEmpty, including.isEmpty { return false }
    guard excluded.contains(where: { $0.matches(text) }) else { return true }
    let former = excludedNames.updateValue(inputNumber, forKey: name)
    if let former, former != inputNumber { excludedTwice = excludedTwice ?? name }
    return false
  }

  /// The models with only the chosen tensors. Throws if a pattern includes no tensor, or if no tensor is left.
  func filter(_ collection: ModelCollection) throws(Failure) -> ModelCollection {
    if included.isEmpty, excluded.isEmpty { return collection }
    let chosen = collection.keeping(contains)
    try checkUse()
    guard !chosen.components.isEmpty else {
      throw Failure(status: EX_NOINPUT, "--include and --exclude leave no tensor")
    }
    return chosen
  }

  /// Throws if a pattern has included no tensor: that is a mistake of the user.
  func checkUse() throws(Failure) {
    guard let position = unused.min() else { return }
    throw Failure(
      status: EX_NOINPUT,
      "no tensor's name matches --include \(PrintableText.quoted(included[position].bytes))")
  }
}
