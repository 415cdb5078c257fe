internal import Safetensors
internal import SystemPackage

/// Reads small files that describe a model completely into memory: an index, a reference of the Hub's cache.
enum SmallFile {
  /// The maximum size, in bytes; the same as for a header.
  static let maximumSize = HeaderPrefix.maximumLength

  /// The file's bytes. `what` names the kind of file in an error, such as "an index".
  static func bytes(of path: FilePath, what: String) throws(ModelError) -> [UInt8] {
    let file = try SourceFile.opening(path)
    guard file.size <= maximumSize else {
      throw ModelError(.malformed, path, "\(what) of \(file.size) bytes is over the limit of \(maximumSize)")
    }
    return try ModelError.translating("read", path) { try file.read(from: 0, count: Int(file.size)) }
  }
}
