internal import Safetensors

/// At most `limit` names in quotes, separated by commas, and the number of the others. Without a limit, the names of a large
/// model would fill a terminal.
package func list(_ names: some Collection<some Collection<UInt8>>, limit: Int = 10) -> String {
  let shown = names.prefix(limit).map { PrintableText.quoted($0) }.joined(separator: ", ")
  let others = names.count - min(names.count, limit)
  return others == 0 ? shown : "\(shown) and \(others) more"
}

extension [UInt8] {
  /// True if the name ends in `suffix`, which is in lower case, and has at least one more byte. Ignores ASCII case.
  func hasSuffix(ignoringCase suffix: String) -> Bool {
    count > suffix.utf8.count
      && zip(self.suffix(suffix.utf8.count), suffix.utf8).allSatisfy { byte, wanted in
        byte == wanted || 0x41...0x5A ~= byte && byte | 0x20 == wanted
      }
  }

  /// True if the name is this text.
  func isNamed(_ text: String) -> Bool { elementsEqual(text.utf8) }
}
