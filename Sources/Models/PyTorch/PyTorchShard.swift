internal import PyTorch
internal import Safetensors
internal import SystemPackage

extension PyTorchFile {
  /// The form of a file that begins with `start`; nil for a safetensors file. The length of a safetensors header can look
  /// like the signature of an archive. Byte 8 tells them apart: it is NUL in an uncompressed archive (the compression
  /// method), and never NUL in a header.
  static func form(of start: [UInt8], in file: SourceFile, _ path: FilePath) throws(ModelError) -> Form? {
    let form = form(of: start)
    guard form == .archive, start.count > 8, start[8] != 0,
      (try? HeaderPrefix.length(start: start, fileSize: file.size)) != nil
    else { return form }
    // An archive is identified by the record at its end: APPNOTE 4.3.16.
    let count = min(file.size, 65_535 + 22)
    let end = try ModelError.translating("read", path) {
      try file.read(from: file.size - count, count: Int(count))
    }
    let record = Array("PK\u{5}\u{6}".utf8)
    if end.indices.dropLast(21).contains(where: {
      end[$0] == record[0] && end[$0..<$0 + 4].elementsEqual(record)
    }) {
      throw ModelError(
        .malformed, path,
        "it can be read as safetensors and as an archive of PyTorch, so it is two models; do not load it"
      )
    }
    return nil
  }
}

/// A part of an open file as a source of the PyTorch library.
struct FilePart: ByteSource {
  private let file: SourceFile
  private let range: Range<UInt64>

  /// Bytes `range` of the file, which are inside it; all of them by default.
  init(_ range: Range<UInt64>? = nil, of file: SourceFile) {
    self.file = file
    self.range = range ?? 0..<file.size
  }

  var size: UInt64 { range.upperBound - range.lowerBound }

  func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    try file.read(from: range.lowerBound + offset, count: count)
  }

  func announce(_ ranges: [Range<UInt64>]) {
    file.announce(ranges.map { range.lowerBound + $0.lowerBound..<range.lowerBound + $0.upperBound })
  }
}
