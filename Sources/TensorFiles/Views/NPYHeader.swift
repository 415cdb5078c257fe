internal import Models
internal import Safetensors

/// The header of a file of NumPy's NPY format, the same bytes that numpy.save writes.
enum NPYHeader {
  /// The data begins at a multiple of this: numpy.lib.format.ARRAY_ALIGN.
  private static let alignment = 64
  /// Room for the first dimension to grow to this many digits: GROWTH_AXIS_MAX_DIGITS.
  private static let growthDigits = 21

  /// The header of an array in C order. Version 1.0, or 2.0 if the dictionary takes more than 65,535 bytes.
  static func bytes(_ dtype: StaticString, _ shape: ArraySlice<UInt64>) -> [UInt8] {
    var dictionary = Array("{'descr': '\(dtype)', 'fortran_order': False, 'shape': (".utf8)
    for (position, dimension) in shape.enumerated() {
      if position > 0 { dictionary += ", ".utf8 }
      dictionary += String(dimension).utf8
    }
    // A tuple of one.
    if shape.count == 1 { dictionary += ",".utf8 }
    dictionary += "), }".utf8
    if let first = shape.first {
      dictionary += repeatElement(space, count: growthDigits - String(first).utf8.count)
    }

    // Magic, version, length, dictionary, padding, newline.
    func paddedCount(lengthBytes: Int) -> Int {
      // A length that is aligned already is padded once more, as in NumPy.
      (8 + lengthBytes + dictionary.count + 1) / alignment * alignment + alignment
    }
    let isLong = paddedCount(lengthBytes: 2) - 10 > 65_535
    let lengthBytes = isLong ? 4 : 2
    let total = paddedCount(lengthBytes: lengthBytes)
    let length = total - 8 - lengthBytes

    var header: [UInt8] = []
    header.reserveCapacity(total)
    header += [0x93] + Array("NUMPY".utf8) + [isLong ? 2 : 1, 0]
    for byte in 0..<lengthBytes { header.append(UInt8(truncatingIfNeeded: length >> (8 * byte))) }
    header += dictionary
    header += repeatElement(space, count: total - header.count - 1)
    header.append(UInt8(ascii: "\n"))
    return header
  }

  private static let space = UInt8(ascii: " ")
}
