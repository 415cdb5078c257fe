import Glibc

/// The C library's character encoding.
enum TextEncoding {
  /// Selects UTF-8 for patterns and expressions: setlocale(3). Without such a locale, a character is a byte.
  static func choose() { _ = unsafe setlocale(LC_CTYPE, "C.UTF-8") }
}
