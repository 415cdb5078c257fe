internal import Glibc
internal import SystemPackage

/// The names of the zip entries whose central directory headers are in the last 64 KiB of a file, to identify its format.
///
/// Reads a header at every signature (APPNOTE.TXT 4.3.12), without checks. Use it only for messages: `ZipArchive` in the
/// PyTorch library makes the checks.
func zipEntryNames(in file: SourceFile) throws(Errno) -> [[UInt8]] {
  let window: UInt64 = 1 << 16
  let start = file.size - min(file.size, window)
  let bytes = try file.read(from: start, count: Int(file.size - start))
  let signature = Array("PK\u{1}\u{2}".utf8)
  let headerSize = 46
  var names: [[UInt8]] = []
  var position = 0
  while position + headerSize <= bytes.count {
    guard bytes[position...].starts(with: signature) else {
      position += 1
      continue
    }
    let length = Int(bytes[position + 28]) | Int(bytes[position + 29]) << 8
    names.append(Array(bytes[(position + headerSize)...].prefix(length)))
    position += headerSize + length
  }
  return names
}
