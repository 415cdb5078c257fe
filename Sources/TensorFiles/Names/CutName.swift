/// Names that are too long for a file: the beginning, then `%~` and a hash.
enum CutName {
  /// NAME_MAX of Linux, in bytes.
  static let maximumCount = 255

  private static let mark = Array("%~".utf8)
  private static let digits = 16

  /// The hash that replaces the end of a name: 16 digits of its SHA-256.
  static func hash(of name: ArraySlice<UInt8>) -> [UInt8] { SHA256.hexPrefix(of: name, digits: digits) }

  /// The hash at the end of a cut name; nil if the name is not cut.
  static func hash(in name: some BidirectionalCollection<UInt8>) -> [UInt8]? {
    let end = Array(name.suffix(mark.count + digits))
    let isCut =
      end.count == mark.count + digits && end.starts(with: mark)
      && end.dropFirst(mark.count).allSatisfy { byte in
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
          || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
      }
    return isCut ? Array(end.suffix(digits)) : nil
  }

  /// As much of the beginning of a long name as fits, then hash and suffix. No character and no escape is split.
  static func cut(_ name: ArraySlice<UInt8>, hash: [UInt8], suffix: [UInt8] = []) -> ArraySlice<UInt8> {
    var end = name.startIndex + maximumCount - mark.count - digits - suffix.count
    // 10xxxxxx continues a character of UTF-8.
    while end > name.startIndex, name[end] & 0xC0 == 0x80 { end -= 1 }
    if let escape = name[..<end].suffix(2).firstIndex(of: UInt8(ascii: "%")) { end = escape }
    return name[..<end] + mark + hash + suffix
  }
}
