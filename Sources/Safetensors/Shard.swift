public import SystemPackage

/// One safetensors file: mapped, its header read and checked.
public struct Shard: Sendable {
  /// The file.
  public let file: MappedFile
  /// Its header.
  public let header: Header
  /// What it is called in metadata.json: its file name, or its path where two sources share that.
  public internal(set) var name: String

  /// Opens a file and reads its header.
  ///
  /// The header is read into memory of its own, not through the mapping: a file that is truncated while it is
  /// read must be an error and not SIGBUS.
  public init(opening path: FilePath, lenient: Bool = false) throws(ModelError) {
    let file = try MappedFile(opening: path)
    self.file = file
    name = String(decoding: path.fileName, as: UTF8.self)
    header = try ModelError.translating("read", path) {
      let start = try file.read(from: 0, count: Int(min(file.size, UInt64(ForeignFormat.prefixSize))))
      let length = try HeaderPrefix.length(start: start, fileSize: file.size)
      let json = try file.read(from: HeaderPrefix.size, count: length)
      return try Header(json: json.span, fileSize: file.size, allowsTrailingBytes: lenient)
    }
  }

  /// Where a tensor's bytes are in the file. `tensor` is one of this shard's.
  public func fileRange(of tensor: Tensor) -> Range<UInt64> {
    // Cannot overflow: the header was checked against the file's size.
    header.dataStart + tensor.dataRange.lowerBound..<header.dataStart + tensor.dataRange.upperBound
  }
}
