internal import Linux
internal import Safetensors
package import SystemPackage

extension FilePath {
  /// The path in quotes, safe to print. A URL has both of its slashes, which a path merges.
  package var printable: String {
    let bytes = bytes
    guard let scheme = MissingSource.scheme(of: bytes) else { return PrintableText.quoted(bytes) }
    let end = scheme.utf8.count + 1
    let slashes = [UInt8](repeating: UInt8(ascii: "/"), count: scheme == "file" ? 2 : 1)
    return PrintableText.quoted(bytes[..<end] + slashes + bytes[end...])
  }
}
