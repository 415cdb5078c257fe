import Glibc

/// A POSIX extended regular expression of the C library: regex(3). Safe to use: the compiled form is private.
@safe final class RegularExpression {
  /// The error of regcomp(3) for an invalid expression.
  struct Problem: Error {
    let text: String
  }

  private var compiled = unsafe regex_t()

  /// Compiles an expression: regcomp(3).
  init(_ expression: [UInt8]) throws(Problem) {
    TextEncoding.choose()
    let status = unsafe regcomp(
      &compiled, expression.map { CChar(truncatingIfNeeded: $0) } + [0], REG_EXTENDED)
    guard status == 0 else {
      var message = [CChar](repeating: 0, count: 200)
      _ = unsafe regerror(status, &compiled, &message, message.count)
      let text = message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
      throw Problem(text: String(decoding: text, as: UTF8.self))
    }
  }

  // If compiling failed, glibc has nothing to free, and the call is allowed.
  deinit { unsafe regfree(&compiled) }

  /// How many groups the expression has.
  var groupCount: Int { unsafe compiled.re_nsub }

  /// A text to search for matches.
  struct Text {
    fileprivate let bytes: [CChar]

    /// NUL is a byte like any other.
    init(_ bytes: [UInt8]) {
      // One more byte, so that empty text has an address too.
      self.bytes = bytes.map { CChar(truncatingIfNeeded: $0) } + [0]
    }
  }

  /// The first match at or after a position, followed by its first nine groups: regexec(3) with REG_STARTEND, which reads no byte
  /// before the position.
  func match(_ text: Text, from start: Int) -> [Range<Int>?]? {
    var groups = [regmatch_t](repeating: regmatch_t(), count: 10)
    groups[0] = regmatch_t(rm_so: regoff_t(start), rm_eo: regoff_t(text.bytes.count - 1))
    let flags = REG_STARTEND | (start > 0 ? REG_NOTBOL : 0)
    guard unsafe regexec(&compiled, text.bytes, groups.count, &groups, flags) == 0 else { return nil }
    return groups.map { $0.rm_so < 0 ? nil : Int($0.rm_so)..<Int($0.rm_eo) }
  }
}
