import Fixtures
import Models
import Safetensors
import SystemPackage
import Testing
import TensorFiles

extension QuantizedSample: CustomTestStringConvertible {
  var testDescription: String { name }
}

/// A sample in a directory, opened and recognised.
struct OpenSample {
  let directory: TemporaryDirectory
  let model: Model
  let quantization: Quantization

  init(_ sample: QuantizedSample) throws {
    try self.init(sample) { directory in try directory.write("model.safetensors", sample.file) }
  }

  /// The sample in files of another kind, which `write` writes.
  init(_ sample: QuantizedSample, _ write: (TemporaryDirectory) throws -> FilePath) throws {
    directory = try TemporaryDirectory()
    let path = try write(directory)
    if let config = sample.config { _ = try directory.write("config.json", Array(config.utf8)) }
    model = try #require(try ModelCollection(opening: [path]).components.first).model
    quantization = Quantization(of: model)
  }

  /// Expects the numbers of the sample, bit for bit.
  func expectNumbers(of sample: QuantizedSample) throws {
    #expect(quantization.warnings == [])
    #expect(quantization.tensors.map { "\($0.name)" } == sample.expected.map { "'\($0.name)'" })
    for (tensor, expected) in zip(quantization.tensors, sample.expected) {
      #expect(tensor.shape == expected.shape.map { UInt64($0) })
      let elements = DequantizedElements(of: tensor, cache: StripeCache())
      try #require(elements.byteCount == UInt64(expected.values.count * 4))
      let bytes = try elements.bytes(0..<expected.values.count * 4)
      let wrong = expected.values.indices.first { index in
        let bits = bytes[4 * index..<4 * index + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        let value = Float(bitPattern: bits)
        return expected.values[index].isNaN ? !value.isNaN : bits != expected.values[index].bitPattern
      }
      #expect(wrong == nil, "element \(wrong ?? 0)")
    }
  }
}

extension ComputedElements {
  /// Bytes of the whole tensor, read into memory whose address is as odd as the offset.
  fileprivate func bytes(_ range: Range<Int>) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xA5, count: range.count + 8)
    let shift = range.lowerBound % 7
    var span = bytes.mutableSpan
    var all = unsafe span.mutableBytes
    var target = all._mutatingExtracting(shift..<shift + range.count)
    try fill(&target, from: UInt64(range.lowerBound))
    // The bytes around the range must not change.
    #expect(
      bytes[..<shift].allSatisfy { $0 == 0xA5 } && bytes[(shift + range.count)...].allSatisfy { $0 == 0xA5 })
    return Array(bytes[shift..<shift + range.count])
  }
}

@Suite("Dequantised elements")
struct DequantizationTests {
  @Test("A quantised tensor equals its formula, bit for bit", arguments: QuantizedSample.all)
  func values(_ sample: QuantizedSample) throws {
    try OpenSample(sample).expectNumbers(of: sample)
  }

  @Test("Any part of a quantised tensor equals that part of the whole", arguments: QuantizedSample.all)
  func windows(_ sample: QuantizedSample) throws {
    let open = try OpenSample(sample)
    var generator = SeededGenerator(seed: 7)
    for tensor in open.quantization.tensors {
      let elements = DequantizedElements(of: tensor, cache: StripeCache())
      let count = Int(elements.byteCount)
      let whole = try elements.bytes(0..<count)
      for _ in 0..<60 {
        let start = Int.random(in: 0..<count, using: &generator)
        let end = Int.random(in: start...min(count, start + 2000), using: &generator)
        #expect(try elements.bytes(start..<end) == Array(whole[start..<end]), "bytes \(start)..<\(end)")
      }
    }
  }

  @Test(
    "A part of a tensor lists the ranges of all sources that it is computed from",
    arguments: QuantizedSample.all)
  func sources(_ sample: QuantizedSample) throws {
    let open = try OpenSample(sample)
    for tensor in open.quantization.tensors {
      let elements = DequantizedElements(of: tensor, cache: StripeCache())
      let whole = elements.sources(of: 0..<elements.byteCount)
      #expect(!whole.isEmpty)
      for source in whole + elements.sources(of: 3..<5) {
        #expect(source.file === open.model.shards[0].file)
        #expect(source.range.upperBound <= source.file.size)
      }
    }
  }

  @Test(
    "A dequantised model has all weights under their names, and all other tensors",
    arguments: QuantizedSample.all)
  func models(_ sample: QuantizedSample) throws {
    let open = try OpenSample(sample)
    let model = try #require(Model(dequantizing: open.model, open.quantization))
    let names = model.places.map { "\(model.name(at: $0))" }
    let ordinary = sample.tensors.filter {
      $0.name.elementsEqual("model.norm.weight".utf8)
        || $0.dtype == "BF16" && String(decoding: $0.name, as: UTF8.self).hasSuffix("_bias")
    }
    let wanted =
      sample.expected.map { "'\($0.name)'" }
      + ordinary.map { "'\(String(decoding: $0.name, as: UTF8.self))'" }
    #expect(names == wanted.sorted())
    // Reading the whole model as one file gives the same model.
    let layout = try #require(FileLayout(wholeModel: model))
    var bytes = [UInt8](repeating: 0, count: Int(layout.byteCount))
    var span = bytes.mutableSpan
    var target = unsafe span.mutableBytes
    try layout.fill(&target, from: 0)
    let path = try open.directory.write("copy.safetensors", bytes)
    let copy = try #require(try ModelCollection(opening: [path]).components.first).model
    #expect(copy.places.map { copy.tensor(at: $0).dtype } == model.places.map { model.tensor(at: $0).dtype })
    #expect(
      copy.places.map { Array(copy.tensor(at: $0).shape) }
        == model.places.map { Array(model.tensor(at: $0).shape) })
    let document = String(decoding: MetadataDocument.bytes(of: model), as: UTF8.self)
    #expect(
      document.contains("\"quantization\": {\"format\": \"\(open.quantization.tensors[0].format.rawValue)\""))
    #expect(!document.contains("\"source\": \"model.safetensors\", \"offset\": 0}"))
  }

  @Test("An empty cache does not change the result", arguments: QuantizedSample.all.suffix(20))
  func cache(_ sample: QuantizedSample) throws {
    let open = try OpenSample(sample)
    for tensor in open.quantization.tensors {
      let count = Int(tensor.byteCount)
      let kept = try DequantizedElements(of: tensor, cache: StripeCache()).bytes(0..<count)
      #expect(try DequantizedElements(of: tensor, cache: StripeCache(budget: 0)).bytes(0..<count) == kept)
    }
  }

  @Test("A NaN scale makes reads of its block fail, and of no other block")
  func doubtfulScale() throws {
    let sample = try #require(QuantizedSample.all.first)
    let open = try OpenSample(sample)
    let tensor = try #require(open.quantization.tensors.first)
    let elements = DequantizedElements(of: tensor, cache: StripeCache())
    let whole = try elements.bytes(0..<Int(elements.byteCount))
    // The file changes after the scales were checked, so the read must check them. The bad scale is in the second row of blocks.
    let scales = open.model.tensor(at: tensor.sources[1])
    let shard = open.model.shard(at: tensor.sources[1])
    let start = try #require(shard.storedRange(of: scales)).range.lowerBound
    let file = try FileDescriptor.open(shard.file.path, .writeOnly)
    try file.closeAfter {
      let place = Int64(start) + 8
      _ = try file.writeAll(toAbsoluteOffset: place, [0, 0, 0xC0, 0x7F])
    }
    let rowBytes = sample.expected[0].shape[1] * 4
    #expect(try elements.bytes(0..<128 * rowBytes) == Array(whole[..<(128 * rowBytes)]))
    #expect(throws: Errno.outOfDomain) { try elements.bytes(128 * rowBytes..<128 * rowBytes + 4) }
    // The second block of the same row has a good scale.
    let second = 128 * rowBytes + 128 * 4
    #expect(try elements.bytes(second..<second + 8) == Array(whole[second..<second + 8]))
  }

  @Test("Reads of a truncated source are an error, not a signal")
  func truncated() throws {
    for sample in QuantizedSample.all.prefix(20) {
      let open = try OpenSample(sample)
      let tensor = try #require(open.quantization.tensors.first)
      let file = try FileDescriptor.open(
        open.directory.path.appending("model.safetensors"), .writeOnly, options: .closeOnExec)
      try file.closeAfter { try file.resize(to: 16) }
      let elements = DequantizedElements(of: tensor, cache: StripeCache())
      #expect(throws: Errno.staleNFSFileHandle) { try elements.bytes(0..<Int(elements.byteCount)) }
    }
  }
}
