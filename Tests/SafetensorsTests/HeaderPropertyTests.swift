import Fixtures
import Safetensors
import Testing

/// Each seed makes 100 headers. A failure's message has the seed and the number of the case.
@Suite("Random headers") struct HeaderPropertyTests {
  static let casesPerSeed: UInt64 = 100

  @Test("A valid header is read back, however it is spelled", arguments: UInt64(1)...20)
  func roundTrip(_ seed: UInt64) throws {
    for number in 0..<Self.casesPerSeed {
      let made = RandomHeader(seed: seed << 32 | number)
      let header: Header
      do throws(HeaderError) {
        header = try readHeader(made.file)
      } catch {
        Issue.record("seed \(seed), case \(number): \(error); \(PrintableText.escaped(made.json))")
        continue
      }
      let tensors = (0..<header.count).map { index in
        let tensor = header[index]
        return RandomHeader.Tensor(
          name: Array(tensor.name.utf8), dtype: tensor.dtype.name, shape: Array(tensor.shape),
          range: tensor.dataRange)
      }
      #expect(tensors == made.tensors, "seed \(seed), case \(number)")
      let metadata = header.metadata
      #expect(
        metadata.map { Array($0.key) } == made.metadata.map(\.key)
          && metadata.map { Array($0.value) } == made.metadata.map(\.value), "seed \(seed), case \(number)")
      if let problem = unsoundness(of: header, fileSize: UInt64(made.file.count)) {
        Issue.record("seed \(seed), case \(number): \(problem)")
      }
    }
  }

  @Test("A damaged header is refused, or its contents are valid", arguments: UInt64(1)...20)
  func damage(_ seed: UInt64) {
    var accepted = 0
    for number in 0..<Self.casesPerSeed {
      var generator = SeededGenerator(seed: seed << 32 | number)
      let other = RandomHeader(seed: generator.next()).json
      let made = RandomHeader(seed: generator.next())
      let json = damaged(made.json, other, &generator)
      // The header's length is correct, so the reader meets the damage in the JSON.
      var file = SafetensorsFile(header: json, data: Array(repeating: 0, count: Int(made.dataSize))).bytes
      if generator.oneIn(8) { file = damaged(file, other, &generator) }

      guard let header = try? readHeader(file, lenient: generator.oneIn(4)) else { continue }
      accepted += 1
      if let problem = unsoundness(of: header, fileSize: UInt64(file.count)) {
        Issue.record("seed \(seed), case \(number): \(problem); \(PrintableText.escaped(json))")
      }
    }
    // If the reader accepted no damaged header, or all of them, the test would prove nothing.
    #expect(accepted > 0 && accepted < Self.casesPerSeed / 2)
  }

  @Test("Noise is refused, as a header and as an index", arguments: UInt64(1)...5)
  func noise(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<Self.casesPerSeed {
      let bytes = generator.bytes(Int.random(in: 0...200, using: &generator))
      #expect(throws: HeaderError.self) { try readHeader(bytes) }
      #expect(throws: HeaderError.self) { try readHeader(SafetensorsFile(header: bytes).bytes) }
    }
  }

  /// Damages a header in one to three places: flips bits; removes, doubles or moves bytes; inserts a part of another header.
  private func damaged(_ bytes: [UInt8], _ other: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...3, using: &generator) {
      let place = Int.random(in: 0...bytes.count, using: &generator)
      let end = min(bytes.count, place + Int.random(in: 1...40, using: &generator))
      switch Int.random(in: 0...5, using: &generator) {
      case 0 where place < bytes.count:
        bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &generator)
      case 1: bytes.removeSubrange(place...)
      case 2: bytes.removeSubrange(place..<end)
      case 3:
        let target = Int.random(in: 0...bytes.count, using: &generator)
        bytes.insert(contentsOf: Array(bytes[place..<end]), at: target)
      case 4:
        let start = Int.random(in: 0...other.count, using: &generator)
        bytes.insert(contentsOf: other[start...].prefix(40), at: place)
      default:
        if let digit = bytes[place...].firstIndex(where: { $0 >= 0x30 && $0 <= 0x39 }) {
          bytes[digit] = UInt8.random(in: 0x30...0x39, using: &generator)
        }
      }
    }
    return bytes
  }

  /// A violation of the promises of `Header`, or nil.
  private func unsoundness(of header: Header, fileSize: UInt64) -> String? {
    let tensors = (0..<header.count).map { header[$0] }
    var end: UInt64 = 0
    for tensor in tensors.sorted(by: {
      ($0.dataRange.lowerBound, $0.dataRange.upperBound) < ($1.dataRange.lowerBound, $1.dataRange.upperBound)
    }) {
      if tensor.dataRange.lowerBound != end { return "\(tensor.name) does not begin where the last one ends" }
      end = tensor.dataRange.upperBound
      if tensor.shape.reduce(1, *) * tensor.dtype.bitSize != tensor.byteCount * 8 {
        return "\(tensor.name) has another size than its shape"
      }
    }
    if header.dataStart + end + header.trailingBytes != fileSize { return "the file ends elsewhere" }
    for (left, right) in zip(tensors, tensors.dropFirst()) where left.name >= right.name {
      return "\(left.name) does not sort before \(right.name)"
    }
    for index in tensors.indices where header.index(of: tensors[index].name) != index {
      return "\(tensors[index].name) is not found"
    }
    for (left, right) in zip(header.metadata, header.metadata.dropFirst())
    where !left.key.lexicographicallyPrecedes(right.key) {
      return "the metadata is out of order"
    }
    return nil
  }
}
