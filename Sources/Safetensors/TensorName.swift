internal import Glibc

/// A tensor's name: any JSON string, compared by its UTF-8 bytes.
///
/// Swift's `String` is not used because its `==` merges canonically equivalent strings, while the format keeps
/// "é" in its composed and decomposed spelling as two tensors.
package struct TensorName: Sendable {
  /// The bytes, valid UTF-8. A slice of the header's text, so that a name costs no allocation.
  package let utf8: ArraySlice<UInt8>

  /// A name from bytes that are known to be valid UTF-8.
  package init(utf8: ArraySlice<UInt8>) { self.utf8 = utf8 }

  /// A name spelled as a Swift string.
  package init(_ string: String) { utf8 = ArraySlice(string.utf8) }
}

extension TensorName: Hashable, Comparable {
  /// True if the bytes are the same.
  package static func == (left: Self, right: Self) -> Bool {
    left.utf8.count == right.utf8.count && compareBytes(left.utf8, right.utf8) == 0
  }

  /// True if `left` sorts first, by bytes.
  package static func < (left: Self, right: Self) -> Bool { compareBytes(left.utf8, right.utf8) < 0 }

  /// Hashes the bytes.
  package func hash(into hasher: inout Hasher) {
    unsafe utf8.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
  }
}

extension TensorName: CustomStringConvertible {
  /// The name in quotes, safe to print (see ``PrintableText``).
  package var description: String { PrintableText.quoted(utf8) }
}

/// Compares two byte strings as memcmp(3) does, the shorter first where one begins the other.
/// Negative, zero or positive as `left` sorts before, equal to or after `right`.
package func compareBytes(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Int {
  unsafe left.withUnsafeBytes { leftBytes in
    unsafe right.withUnsafeBytes { rightBytes in
      // memcmp's pointers must not be null even for no bytes, and an empty buffer's is.
      if let a = leftBytes.baseAddress, let b = rightBytes.baseAddress {
        let order = unsafe memcmp(a, b, min(leftBytes.count, rightBytes.count))
        if order != 0 { return Int(order) }
      }
      return leftBytes.count - rightBytes.count
    }
  }
}
