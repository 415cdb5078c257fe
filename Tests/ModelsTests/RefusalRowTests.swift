import Linux
import SystemPackage
import Testing

@testable import Models
@testable import PyTorch
@testable import Safetensors

/// docs/TROUBLESHOOTING.md has a row for each refusal of a source.
@Suite("Rows of docs/TROUBLESHOOTING.md") struct RefusalRowTests {
  private static let repository = FilePath(#filePath).removingLastComponent().removingLastComponent()
    .removingLastComponent()

  private static func text(_ path: FilePath) throws -> String {
    let file = try SourceFile(opening: path)
    return String(decoding: try file.read(from: 0, count: Int(file.size)), as: UTF8.self)
  }

  /// The messages in the tables, each as a list of its fixed parts.
  private static func rows() throws -> [[Substring]] {
    var rows: [[Substring]] = []
    for row in try text(repository.appending("docs/TROUBLESHOOTING.md")).split(separator: "\n") {
      guard row.hasPrefix("| `"), let cell = row.split(separator: " | ", maxSplits: 1).first else { continue }
      // Messages are between pairs of backquotes.
      let parts = cell.split(separator: "`", omittingEmptySubsequences: false)
      for index in stride(from: 1, to: parts.count, by: 2) {
        let words = parts[index].split(separator: "…").map { $0.trimming(" ':") }.filter { !$0.isEmpty }
        if !words.isEmpty { rows.append(words) }
      }
    }
    return rows
  }

  private static func expectRow(_ message: String, _ rows: [[Substring]]) {
    let isThere = rows.contains { words in
      var rest = message[...]
      for word in words {
        guard let range = rest.firstRange(of: word) else { return false }
        rest = rest[range.upperBound...]
      }
      return true
    }
    #expect(isThere, "\(message)")
  }

  @Test("Every header error, and every foreign format, has a row")
  func headers() throws {
    let rows = try Self.rows()
    let name = TensorName(utf8: Array("w".utf8)[...])
    let errors: [HeaderError] = [
      .headerTooSmall(fileSize: 1), .headerTooLarge(length: 1 << 40),
      .invalidHeaderLength(length: 100, fileSize: 10), .invalidHeader(offset: 8),
      .invalidHeaderDeserialization(offset: 8, problem: "x", tensor: name),
      .duplicateTensor(offset: 8, tensor: name), .duplicateMetadataKey(offset: 8, key: name),
      .invalidOffset(offset: 8, tensor: name, begin: 1, end: 2, expected: 0),
      .invalidOffset(offset: 8, tensor: name, begin: 1, end: 2, expected: 3),
      .invalidOffset(offset: 8, tensor: name, begin: 2, end: 1, expected: 2),
      .validationOverflow(offset: 8, tensor: name), .misalignedSlice(offset: 8, tensor: name, bits: 4),
      .tensorInvalidInfo(offset: 8, tensor: name, declared: 1, computed: 2),
      .metadataIncompleteBuffer(expected: 9, fileSize: 8),
      .metadataIncompleteBuffer(expected: 8, fileSize: 9),
      .metadataIncompleteBuffer(expected: nil, fileSize: 8),
    ]
    for error in errors + ForeignFormat.allCases.map({ .foreignFormat($0) }) {
      Self.expectRow(error.description, rows)
    }
  }

  @Test("Every error about a PyTorch file has a row")
  func pyTorch() throws {
    let rows = try Self.rows()
    let name = Array("n".utf8)
    let problems: [FormatError.Problem] = [
      .noPickle, .foreign(.package), .foreign(.exported), .foreign(.oldTorchScript),
      .global(name: name, isCalled: true), .global(name: name, isCalled: false), .compressed(entry: name),
      .opcode(0x82), .malformed(.file, "x"), .malformed(.entry(name), "x"), .malformed(.pickle, "x"),
      .truncated,
      .trailing(count: 1), .trailing(count: 2), .bigEndian,
    ]
    for problem in problems { Self.expectRow(FormatError(at: 1, problem).clause, rows) }
    // The subject comes before the text of a problem.
    let subjects: KeyValuePairs<String, String> = [
      ".malformed(.file, ": "invalid PyTorch file: ", ".malformed(.entry(": "entry … of the archive ",
      ".malformed(.storage(": "storage … ", ".malformed(.tensor(": "tensor … ",
      "throw error(row, ": "tensor … ",
    ]
    var count = 0
    for path in try Self.sources(below: Self.repository.appending("Sources/PyTorch")) {
      let source = try Self.text(path)
      for (call, subject) in subjects {
        for message in source.literals(after: call) {
          Self.expectRow(subject + message, rows)
          count += 1
        }
      }
    }
    #expect(count > 20)
  }

  @Test("Every reason for leaving out a tensor has a row")
  func omissions() throws {
    let rows = try Self.rows()
    let kinds: [Omission.Kind] = [.quantized, .sparse, .nested, .meta, .wrapped, .device, .inline, .custom]
    let reasons = kinds.map { Omission.Reason.kind($0) } + [.lazy, .bareStorage, .unnamed, .deep]
    for reason in reasons {
      Self.expectRow(Omission(name: [0x6E], type: .float32, reason: reason).clause, rows)
    }
    var count = 0
    for path in try Self.sources(below: Self.repository.appending("Sources/Models")) {
      let source = try Self.text(path)
      for message in source.literals(after: "omit(name, ") + source.literals(after: "OmittedTensor(") {
        // The index's own error about the tensor says the same.
        if message.isEmpty || message.hasPrefix("is missing in ") { continue }
        Self.expectRow(message, rows)
        count += 1
      }
    }
    #expect(count > 3)
  }

  @Test("Every refusal of a model has a row")
  func models() throws {
    let rows = try Self.rows()
    var count = 0
    for path in try Self.sources(below: Self.repository.appending("Sources/Models")) {
      for kind in ["malformed", "noSource"] {
        for message in try Self.text(path).literals(after: "ModelError(.\(kind), ") {
          // A message that is made elsewhere leaves no text here.
          if message.allSatisfy({ " …:;".contains($0) }) { continue }
          Self.expectRow(message, rows)
          count += 1
        }
      }
    }
    #expect(count > 30)
  }

  private static func sources(below directory: FilePath) throws -> [FilePath] {
    try directory.entries().flatMap { name -> [FilePath] in
      let path = directory.pushing(FilePath(bytes: name))
      if try Stat(path).type == .directory { return try sources(below: path) }
      return name.hasSuffix(ignoringCase: ".swift") ? [path] : []
    }
  }
}

extension String {
  /// The string literals in the arguments of each call that begins like `start`, joined. `start` ends before the literals; "…"
  /// replaces interpolations.
  fileprivate func literals(after start: String) -> [String] {
    // A call may span several lines.
    let source = split(whereSeparator: { " \n".contains($0) }).joined(separator: " ").replacing(
      "( .", with: "(.")
    let depth = start.count { $0 == "(" }
    return source.ranges(of: start).map { source[$0.upperBound...].firstLiterals(depth) }
      .filter { !$0.isEmpty }
  }
}

extension Substring {
  fileprivate func trimming(_ set: String) -> Substring {
    var text = drop { set.contains($0) }
    while let last = text.last, set.contains(last) { text.removeLast() }
    return text
  }

  /// The literals up to the closing parenthesis of the call, where `opened` parentheses are open.
  fileprivate func firstLiterals(_ opened: Int) -> String {
    var (text, rest, depth) = ("", self, opened)
    while depth > 0, let character = rest.popFirst() {
      switch character {
      case "(": depth += 1
      case ")": depth -= 1
      case "\"": text += rest.popLiteral()
      default: break
      }
    }
    return text
  }

  /// The rest of a literal, whose opening quotation mark was already removed.
  private mutating func popLiteral() -> String {
    var text = ""
    while let character = popFirst(), character != "\"" {
      guard character == "\\", let escaped = popFirst() else {
        text.append(character)
        continue
      }
      guard escaped == "(" else {
        text.append(escaped)
        continue
      }
      text += "…"
      var depth = 1
      while depth > 0, let character = popFirst() {
        switch character {
        case "(": depth += 1
        case ")": depth -= 1
        case "\"": _ = popLiteral()
        default: break
        }
      }
    }
    return text
  }
}
