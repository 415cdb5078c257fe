internal import Linux
internal import Safetensors
internal import SystemPackage

/// The advice for a missing source that looks like a URL, or like a repository of the Hub.
enum MissingSource {
  private static let downloads = ["http", "https", "hf"]
  private static let stores = ["s3", "gs", "gcs", "az", "abfs", "oss", "r2", "ftp", "sftp", "ssh", "file"]

  /// The scheme of a URL, such as `https`; nil for any other path. FilePath merges the slashes after it.
  static func scheme(of path: [UInt8]) -> String? {
    guard let colon = path.firstIndex(of: UInt8(ascii: ":")),
      path[colon...].dropFirst().first == UInt8(ascii: "/")
    else { return nil }
    let scheme = String(decoding: path[..<colon], as: UTF8.self).lowercased()
    return downloads.contains(scheme) || stores.contains(scheme) ? scheme : nil
  }

  /// Advice, as a clause; nil if the path looks like any other.
  static func advice(for path: FilePath) -> String? {
    if let scheme = scheme(of: path.bytes) {
      let remedy =
        switch scheme {
        case "hf": "download it with 'hf download ORG/NAME'"
        case "http", "https": "download it with 'hf download ORG/NAME' or curl"
        case "file": "give the path alone, without file://"
        default: "mount the store with rclone or mount-s3 first; see docs/RECIPES.md"
        }
      return "stmount reads files, not URLs: \(remedy)"
    }
    let text = String(decoding: path.bytes, as: UTF8.self)
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let isName = { (part: Substring) in
      !part.isEmpty && part.first != "." && part.utf8.allSatisfy(isNameByte)
    }
    // If the directory exists, the source is a misspelled path, not a repository.
    guard parts.count == 2, parts.allSatisfy(isName), (try? Stat(path.removingLastComponent())) == nil else {
      return nil
    }
    return "for a model of the Hub, 'hf download \(text)' downloads it and prints the directory to name"
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    0x30...0x39 ~= byte || 0x41...0x5A ~= byte || 0x61...0x7A ~= byte || [0x2D, 0x2E, 0x5F].contains(byte)
  }
}
