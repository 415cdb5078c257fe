import Glibc
import Linux
import Models
import Safetensors
import TensorFiles

/// A substitution as sed(1) writes it: `s/RE/REPLACEMENT/` or `s/RE/REPLACEMENT/g`, with any character in place of `/`.
///
/// RE is a POSIX extended regular expression of the C library, so no other library is needed. In REPLACEMENT, `&` and `\0` are
/// the match, `\1` to `\9` are its groups, and a backslash before any other character but a letter is removed.
struct Renaming {
  private let expression: RegularExpression
  private let replacement: [Piece]
  private let isGlobal: Bool

  private enum Piece {
    case byte(UInt8)
    case group(Int)
  }

  /// Reads and compiles a substitution of that command's command line.
  init(_ text: String, command: String) throws(Failure) {
    let parts = try Self.parts(text, command)
    if let escape = Self.escape(in: parts.expression, besides: "wWsSbB") {
      throw Self.usage(
        text, "\(escape) in an expression is not supported: write the character itself", command)
    }
    if let escape = Self.escape(in: parts.replacement) {
      throw Self.usage(
        text, "\(escape) in a replacement is not supported: only & and \\0 to \\9 are", command)
    }
    replacement = Self.pieces(parts.replacement)
    isGlobal = parts.flags == "g"
    do throws(RegularExpression.Problem) {
      expression = try RegularExpression(parts.expression)
    } catch {
      throw Self.usage(text, error.text, command)
    }
    for case .group(let group) in replacement where group > expression.groupCount {
      throw Self.usage(text, "there is no group \\\(group)", command)
    }
  }

  private static func usage(_ text: String, _ problem: String, _ command: String) -> Failure {
    .usage("--rename '\(text)': \(problem)", command: command)
  }

  private static func parts(_ text: String, _ command: String) throws(Failure) -> (
    expression: [UInt8], replacement: [UInt8], flags: String
  ) {
    var rest = text.argumentBytes[...]
    guard rest.popFirst() == UInt8(ascii: "s"), let delimiter = rest.popFirst(), delimiter < 0x80,
      delimiter != UInt8(ascii: "\\"), !rest.contains(0)
    else { throw usage(text, "expected s/RE/REPLACEMENT/", command) }
    var parts: [[UInt8]] = [[]]
    while let byte = rest.popFirst() {
      if byte == delimiter, parts.count < 3 {
        parts.append([])
      } else if byte == UInt8(ascii: "\\"), parts.count < 3, let escaped = rest.popFirst() {
        // A backslash before the delimiter is removed; all others belong to the expression.
        parts[parts.count - 1] += escaped == delimiter ? [escaped] : [byte, escaped]
      } else {
        parts[parts.count - 1].append(byte)
      }
    }
    guard parts.count == 3 else { throw usage(text, "expected s/RE/REPLACEMENT/", command) }
    let flags = String(decoding: parts[2], as: UTF8.self)
    guard flags.isEmpty || flags == "g" else { throw usage(text, "the only flag is g", command) }
    return (parts[0], parts[1], flags)
  }

  /// The first backslash with a letter after it, except for `known` letters. GNU sed may take it for a newline, a change of case or
  /// the number of a character, so the letter itself would be a silent difference.
  private static func escape(in text: [UInt8], besides known: String = "") -> String? {
    var rest = text[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let letter = rest.popFirst() else { continue }
      let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(letter | 0x20)
      if isLetter, !known.utf8.contains(letter) { return "\\\(Unicode.Scalar(letter))" }
    }
    return nil
  }

  private static func pieces(_ text: [UInt8]) -> [Piece] {
    var pieces: [Piece] = []
    var rest = text[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "&") {
        pieces.append(.group(0))
      } else if byte == UInt8(ascii: "\\"), let escaped = rest.popFirst() {
        let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(escaped)
        pieces.append(isDigit ? .group(Int(escaped - UInt8(ascii: "0"))) : .byte(escaped))
      } else {
        pieces.append(.byte(byte))
      }
    }
    return pieces
  }

  /// The name after some substitutions, in order. The result must be UTF-8.
  static func rename(_ name: TensorName, by renamings: [Renaming]) throws(Failure) -> TensorName {
    let renamed = renamings.reduce(Array(name.utf8)) { $1.apply(to: $0) }
    guard String(validating: renamed, as: UTF8.self) != nil else {
      throw Failure(
        status: EX_DATAERR,
        "tensor \(name) would be called \(PrintableText.quoted(renamed)), which is not UTF-8")
    }
    return TensorName(utf8: renamed[...])
  }

  /// The name with the first match replaced, or with `g` all matches.
  func apply(to name: [UInt8]) -> [UInt8] {
    let text = RegularExpression.Text(name)
    var result: [UInt8] = []
    var position = 0
    /// The end of the last match; an empty match there does not count.
    var lastEnd = -1
    while position <= name.count, let groups = expression.match(text, from: position), let whole = groups[0] {
      result += name[position..<whole.lowerBound]
      if !whole.isEmpty || whole.lowerBound != lastEnd {
        for piece in replacement {
          switch piece {
          case .byte(let byte): result.append(byte)
          case .group(let group): if let range = groups[group] { result += name[range] }
          }
        }
      }
      position = whole.upperBound
      lastEnd = whole.upperBound
      guard isGlobal else { break }
      if whole.isEmpty {
        // Advance by a whole UTF-8 character.
        guard position < name.count else { return result }
        repeat {
          result.append(name[position])
          position += 1
        } while position < name.count && name[position] & 0xC0 == 0x80
      }
    }
    return position < name.count ? result + name[position...] : result
  }
}
