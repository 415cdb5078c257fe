import Fixtures
import SystemPackage
import Testing

extension CommandTests {
  /// Users search docs/TROUBLESHOOTING.md for the words of a message, so document and message must have the same words.
  @Suite struct TroubleshootingTests {
    private func text(_ path: FilePath) throws -> String {
      String(decoding: try OpenFile(path).bytes(), as: UTF8.self)
    }

    /// All sources as one text. Joins messages that span several lines.
    private func sources() async throws -> String {
      let list = try await Command.output(
        of: "find", "\(Machine.repository.appending("Sources"))", "-name", "*.swift")
      var all = ""
      for path in list.split(separator: "\n") { all += try text(FilePath(String(path))) }
      return all.replacing(/"\s*\+ "/, with: "")
    }

    @Test(
      "Every message that a table of failures explains is one that the commands print",
      arguments: [
        ("Mounting fails", 15), ("Packing fails", 15), ("Working without a mount fails", 10),
        ("A quantised weight is not dequantised", 30),
      ])
    func messages(title: String, least: Int) async throws {
      let document = try text(Machine.repository.appending("docs/TROUBLESHOOTING.md"))
      let table = try #require(document.split(separator: "\n## ").first { $0.hasPrefix(title) })
      let rows = table.split(separator: "\n").filter { $0.hasPrefix("| `") }
      #expect(rows.count >= least)
      let sources = try await sources()
      for row in rows {
        let message = try #require(row.split(separator: "`").dropFirst().first)
        for part in message.split(separator: "…") {
          let words = part.trimming(while: " ':")
          // The words of the system can differ.
          if words.isEmpty || words.hasPrefix("cannot ") { continue }
          #expect(sources.contains(words), "\(words)")
        }
        // An exit status of sysexits.h, or "a warning", follows the message.
        let status = row.firstMatch(of: /` \((6[4-9]|7[0-7]|a warning)\) \|/)
        #expect(status != nil, "\(row)")
      }
    }
  }
}

extension Substring {
  /// The text without characters of `set` at either end.
  fileprivate func trimming(while set: String) -> Substring {
    var text = drop { set.contains($0) }
    while let last = text.last, set.contains(last) { text.removeLast() }
    return text
  }
}
