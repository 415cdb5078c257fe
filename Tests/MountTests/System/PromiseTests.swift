import SystemPackage
import Testing

extension CommandTests {
  /// Each promise of docs/SEMANTICS.md has a row in docs/internals/PROMISES.md, which names its tests.
  @Suite struct PromiseTests {
    /// The lines below the headings of a document, each with its heading.
    private static func lines(_ path: String) throws -> [(section: Substring, text: Substring)] {
      var section: Substring = ""
      var lines: [(section: Substring, text: Substring)] = []
      for line in try Documentation.text(path).split(separator: "\n") {
        if let heading = line.wholeMatch(of: /##+ (.*)/) {
          section = heading.1
        } else if !section.isEmpty {
          lines.append((section, line))
        }
      }
      return lines
    }

    /// The names of all tests, as `Suite.function`.
    private static func tests() async throws -> Set<String> {
      let list = try await Command.output(
        of: "find", "\(Machine.repository.appending("Tests"))", "-name", "*Tests.swift")
      var names: Set<String> = []
      for path in list.split(separator: "\n") {
        let text = String(decoding: try OpenFile(FilePath(String(path))).bytes(), as: UTF8.self)
        let suites = text.matches(of: /struct (\w+Tests)\b/).map(\.output.1)
        for test in text.split(separator: "@Test").dropFirst() {
          guard let function = test.firstMatch(of: /\bfunc `?(\w+)/) else { continue }
          for suite in suites { names.insert("\(suite).\(function.1)") }
        }
      }
      return names
    }

    @Test("Every promise of SEMANTICS.md has a row in PROMISES.md, and every row matches one promise")
    func rows() throws {
      let promises = try Self.lines("docs/SEMANTICS.md").compactMap { line in
        line.text.prefixMatch(of: /\s*- (.*)/).map { (section: line.section, text: $0.1) }
      }
      let rows = try Self.lines("docs/internals/PROMISES.md").compactMap { line in
        line.text.wholeMatch(of: /\| (.+) \| ([\w., ]+) \|/).map { (section: line.section, start: $0.1) }
      }.filter { $0.start != "promise" }
      #expect(promises.count > 100)
      for promise in promises {
        let count = rows.count { $0.section == promise.section && promise.text.hasPrefix($0.start) }
        #expect(count == 1, "\(promise.section): \(promise.text): \(count) rows")
      }
      for row in rows {
        let count = promises.count { $0.section == row.section && $0.text.hasPrefix(row.start) }
        #expect(count == 1, "\(row.section): \(row.start): \(count) promises")
      }
    }

    @Test("Every test that PROMISES.md names exists")
    func names() async throws {
      let tests = try await Self.tests()
      #expect(tests.count > 500)
      let named = try Documentation.text("docs/internals/PROMISES.md").matches(of: /\w+Tests\.\w+/)
      #expect(named.count > 200)
      for name in named { #expect(tests.contains(String(name.output)), "\(name.output)") }
    }
  }
}
