internal import Safetensors
internal import SystemPackage

/// The advice for a missing source that looks like a URL, or like a repository of the Hub.
enum MissingSource {
  /// Advice, as a clause; nil if the path looks like any other.
  static func advice(for path: FilePath) -> String? {
    let text = String(decoding: path.bytes, as: UTF8.self)
    // FilePath merges consecutive slashes.
    if let colon = text.firstIndex(of: ":"), text[colon...].dropFirst().first == "/" {
      switch text[..<colon].lowercased() {
      case "http", "https":
        return "stmount reads files, not addresses: download it with 'hf download ORG/NAME' or curl"
      case "hf": return "stmount reads files, not addresses: download it with 'hf download ORG/NAME'"
      case "s3", "gs", "gcs", "az", "abfs", "oss", "r2", "ftp", "sftp", "ssh", "file":
        return
          "stmount reads files, not addresses: mount the store with rclone or mount-s3 first; docs/RECIPES.md"
      default: return nil
      }
    }
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let isName = { (part: Substring) in
      !part.isEmpty && part.first != "." && part.utf8.allSatisfy(isNameByte)
    }
    guard parts.count == 2, parts.allSatisfy(isName) else { return nil }
    return "for a model of the Hub, 'hf download \(text)' downloads it and prints the directory to name"
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    0x30...0x39 ~= byte || 0x41...0x5A ~= byte || 0x61...0x7A ~= byte || [0x2D, 0x2E, 0x5F].contains(byte)
  }
}
