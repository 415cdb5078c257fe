import Glibc

/// What the C library takes for a character.
enum TextEncoding {
  /// Chooses UTF-8 for patterns and expressions: setlocale(3). Where there is no such locale, a character is a byte.
  static func choose() { _ = unsafe setlocale(LC_CTYPE, "C.UTF-8") }
}
