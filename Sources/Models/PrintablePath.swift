internal import Linux
internal import Safetensors
package import SystemPackage

extension FilePath {
  /// The path in quotes, safe to print. A URL has both of its slashes, which a path merges.
  package var printable: String {
    let bytes = bytes
    guard let scheme = MissingSource.scheme(of: bytes) else { return PrintableText.quoted(bytes) }
    let end = scheme.utf8.count + 1
    return PrintableText.quoted(bytes[..<end] + [UInt8(ascii: "/")] + bytes[end...])
  }
}
