import SystemPackage
import Testing

/// The documents of the repository.
enum Documentation {
  /// A document's text.
  static func text(_ path: String) throws -> String {
    String(decoding: try OpenFile(Machine.repository.appending(path)).bytes(), as: UTF8.self)
  }

  /// The commands of the code block that a comment in the document names: `<!-- test: NAME -->`.
  static func commands(_ name: String, in path: String) throws -> String {
    let start = "<!-- test: \(name) -->\n```sh\n"
    let block = try #require(
      try text(path).split(separator: start, maxSplits: 1).dropFirst().first, "there is no block \(name)")
    return String(try #require(block.split(separator: "\n```", maxSplits: 1).first))
  }
}
