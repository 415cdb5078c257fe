import Safetensors
import SystemPackage

/// Reads a file's header from memory. A shard reads it from a file in the same way.
func readHeader(_ file: [UInt8], lenient: Bool = false) throws(HeaderError) -> Header {
  let length = try HeaderPrefix.length(
    start: Array(file.prefix(ForeignFormat.prefixSize)), fileSize: UInt64(file.count))
  let start = Int(HeaderPrefix.size)
  return try Header(
    json: file.span.extracting(start..<start + length), fileSize: UInt64(file.count),
    allowsTrailingBytes: lenient)
}

extension TensorName: ExpressibleByStringLiteral {
  init(stringLiteral value: String) { self.init(value) }
}
