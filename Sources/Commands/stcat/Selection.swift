import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// The tensors of a source that a command line names, in order.
struct Selection {
  /// A tensor, and its names.
  struct Entry {
    /// The name in the model.
    let name: TensorName
    /// The path below the mount point.
    let path: [UInt8]
    /// Its place among the raw files.
    let place: ViewedTree.Entry
  }

  private let source: String
  private let entries: [Entry]

  /// All tensors of a source; `source` is its name in messages.
  init(_ files: FileTree, of source: String) {
    self.source = source
    entries = files.files(in: .raw).compactMap { path, place in
      let node = files.tree.node(place)
      guard node.kind == .tensor else { return nil }
      return Entry(name: files.source(of: node).tensor.name, path: path, place: place)
    }
  }

  /// The tensors that some words name, in the order of the words. A word is a name, a path, or a glob on either; the matches of
  /// a glob are in the order of paths. A word without a match is an error, and so is a name that several models have.
  func entries(named words: [String]) throws(Failure) -> [Entry] {
    // With many words, looking through all entries for each would take long.
    var byName: [[UInt8]: [Int]] = [:]
    var byPath: [[UInt8]: Int] = [:]
    for (position, entry) in entries.enumerated() {
      byName[Array(entry.name.utf8), default: []].append(position)
      byPath[entry.path] = position
    }
    var found: [Entry] = []
    for word in words {
      let text = word.argumentBytes
      let named = byName[text] ?? []
      if named.count == 1 {
        found.append(entries[named[0]])
      } else if let position = byPath[text] {
        found.append(entries[position])
      } else if named.count > 1 {
        throw Failure(
          status: EX_USAGE,
          "\(PrintableText.quoted(word.argumentBytes)): several models have a tensor of that name; give a path, such as "
            + PrintableText.quoted(entries[named[0]].path))
      } else {
        found += try matches(word)
      }
    }
    return found
  }

  private func matches(_ word: String) throws(Failure) -> [Entry] {
    let source = FilePath(argument: source).printable
    guard word.contains(where: { "*?[".contains($0) }) else {
      throw Failure(
        status: EX_NOINPUT,
        "\(source): there is no tensor \(PrintableText.quoted(word.argumentBytes))"
          + NearestNames.suggestion(for: word.argumentBytes, among: entries.lazy.map(\.name.utf8)))
    }
    let pattern = NamePattern(word.argumentBytes)
    let matching = entries.filter { entry in
      [entry.name, TensorName(utf8: entry.path[...])].contains { pattern.matches(NamePattern.text(of: $0)) }
    }
    guard !matching.isEmpty else {
      throw Failure(
        status: EX_NOINPUT,
        "\(source): no tensor's name or path matches \(PrintableText.quoted(word.argumentBytes))")
    }
    return matching
  }
}
