internal import Safetensors

/// Names in quotes, separated by commas, and the number of further names: the length of a message is limited, and a model
/// can have hundreds of thousands of tensors.
package func list(_ names: some Collection<some Collection<UInt8>>, limit: Int = 10) -> String {
  let shown = names.prefix(limit).map { PrintableText.quoted($0) }.joined(separator: ", ")
  let others = names.count - min(names.count, limit)
  return others == 0 ? shown : "\(shown) and \(others) more"
}

extension [UInt8] {
  /// True if the name ends in these words, in upper or lower case.
  func hasSuffix(ignoringCase suffix: String) -> Bool {
    count > suffix.utf8.count
      && zip(self.suffix(suffix.utf8.count), suffix.utf8).allSatisfy { byte, wanted in
        byte == wanted || 0x41...0x5A ~= byte && byte | 0x20 == wanted
      }
  }

  /// True if the name is this text.
  func isNamed(_ text: String) -> Bool { elementsEqual(text.utf8) }
}
