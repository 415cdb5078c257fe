/// The command line, as strings that preserve every byte.
///
/// An argument can contain any bytes except NUL, and `String` contains Unicode. A byte that is not UTF-8 becomes one of the
/// last 128 scalars, U+10FF80 to U+10FFFF, which are unassigned; so do the bytes of such a scalar itself. To pass an argument
/// on, use ``Swift/String/argumentBytes``, never its UTF-8.
package enum Arguments {
  /// All arguments, the command's name first: `argv`, which `CommandLine.arguments` would repair.
  package static var all: [String] {
    (0..<Int(CommandLine.argc)).compactMap { position in
      unsafe CommandLine.unsafeArgv[position].map { pointer in
        unsafe String(
          argumentBytes: UnsafeRawBufferPointer(start: pointer, count: UnsafePointer(pointer).terminatedCount)
        )
      }
    }
  }

  /// The base that a byte is added to; the bytes that need it are 0x80 and above.
  fileprivate static let base: UInt32 = 0x10_FF00
  fileprivate static let escapes = base + 0x80...base + 0xFF
}

extension String {
  /// The argument with these bytes.
  package init(argumentBytes bytes: some Collection<UInt8>) {
    self.init()
    var iterator = bytes.makeIterator()
    var rest = bytes[...]
    var decoder = Unicode.UTF8.ForwardParser()
    while true {
      let count: Int
      switch decoder.parseScalar(from: &iterator) {
      case .valid(let encoded):
        count = encoded.count
        let scalar = Unicode.UTF8.decode(encoded)
        if Arguments.escapes.contains(scalar.value) {
          appendEscapes(of: rest.prefix(count))
        } else {
          unicodeScalars.append(scalar)
        }
      case .error(let length):
        count = length
        appendEscapes(of: rest.prefix(count))
      case .emptyInput: return
      }
      rest = rest.dropFirst(count)
    }
  }

  private mutating func appendEscapes(of bytes: some Collection<UInt8>) {
    unicodeScalars.append(contentsOf: bytes.compactMap { Unicode.Scalar(Arguments.base + UInt32($0)) })
  }

  /// The bytes of an argument, or of text composed from arguments.
  package var argumentBytes: [UInt8] {
    var bytes: [UInt8] = []
    for scalar in unicodeScalars {
      if Arguments.escapes.contains(scalar.value) {
        bytes.append(UInt8(truncatingIfNeeded: scalar.value))
      } else {
        bytes += UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter
      }
    }
    return bytes
  }
}

extension UnsafePointer<CChar> {
  /// The number of bytes before the NUL.
  fileprivate var terminatedCount: Int {
    var count = 0
    while unsafe self[count] != 0 { count += 1 }
    return count
  }
}
