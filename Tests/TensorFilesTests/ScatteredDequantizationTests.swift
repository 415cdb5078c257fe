import Fixtures
import Models
import Safetensors
import SystemPackage
import Testing
import TensorFiles

@Suite("Quantised tensors with scattered parts")
struct ScatteredDequantizationTests {
  /// PyTorch's names of the samples' types.
  private static let torchTypes = [
    "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I8": "int8", "I32": "int32", "I64": "int64",
    "U8": "uint8", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
  ]

  /// True for formats that are read by columns, which slices do not support.
  private static func readsColumns(_ sample: QuantizedSample) -> Bool {
    sample.tensors.contains { tensor in
      let name = String(decoding: tensor.name, as: UTF8.self)
      return name.hasSuffix(".qweight")
        && sample.config?.contains("gemv") != true || name.hasSuffix("_blocks")
    }
  }

  /// A tensor's elements in column-major order: the first index changes fastest.
  private static func columnMajor(_ tensor: SafetensorsFile.Tensor) -> (data: [UInt8], strides: [Int]) {
    let shape = tensor.shape
    let count = shape.reduce(1, *)
    let width = count == 0 ? 0 : tensor.data.count / count
    let strides = shape.indices.map { shape[..<$0].reduce(1, *) }
    var data = tensor.data
    for element in 0..<count {
      var rest = element
      var place = 0
      for axis in shape.indices.reversed() {
        place += rest % shape[axis] * strides[axis]
        rest /= shape[axis]
      }
      for byte in 0..<width { data[place * width + byte] = tensor.data[element * width + byte] }
    }
    return (data, strides)
  }

  @Test(
    "A quantised PyTorch model of transposed views is dequantised to the same numbers, or a warning says why not",
    arguments: QuantizedSample.all)
  func strided(_ sample: QuantizedSample) throws {
    var torch = TorchFile()
    var entries: [(PickledValue, PickledValue)] = []
    for tensor in sample.tensors {
      let (data, strides) = Self.columnMajor(tensor)
      let storage = torch.addStorage("Untyped", count: data.count, data: data)
      entries.append(
        (
          .string(String(decoding: tensor.name, as: UTF8.self)),
          torch.view(
            of: storage, as: try #require(Self.torchTypes[tensor.dtype]), tensor.shape, strides: strides)
        ))
    }
    torch.object = .pairs(entries)
    let open = try OpenSample(sample) { directory in try directory.write("model.pt", torch.bytes) }
    // The reader treats the blocks of gpt-oss as longer rows, so they must be contiguous.
    let isJoined = sample.tensors.contains { String(decoding: $0.name, as: UTF8.self).hasSuffix("blocks") }
    if isJoined {
      #expect(open.quantization.tensors.isEmpty)
      #expect(open.quantization.warnings.first?.contains("are not contiguous") == true)
    } else {
      try open.expectNumbers(of: sample)
    }
  }

  @Test(
    "A quantised distributed checkpoint is dequantised to the same numbers, or a warning says why not",
    arguments: QuantizedSample.all, [0, 1])
  func slices(_ sample: QuantizedSample, _ axis: Int) throws {
    var files: [[SafetensorsFile.Tensor]] = [[], []]
    var offsets: [[String]] = [[], []]
    for tensor in sample.tensors {
      let name = String(decoding: tensor.name, as: UTF8.self)
      let cut = tensor.shape.count > axis && tensor.shape[axis] > 1 ? tensor.shape[axis] / 2 : nil
      for number in 0..<2 where number == 0 || cut != nil {
        let part = cut.map { number == 0 ? 0..<$0 : $0..<tensor.shape[axis] }
        files[number].append(Self.slice(tensor, axis, part))
        let start = tensor.shape.indices.map { $0 == axis ? part?.lowerBound ?? 0 : 0 }
        offsets[number].append("\"\(name)\": {\"saved_offsets\": \(start)}")
      }
    }
    let open = try OpenSample(sample) { directory in
      for number in 0..<2 {
        try directory.write(
          "shard-0000\(number + 1)-model-00001-of-00001.safetensors",
          SafetensorsFile(
            files[number],
            metadata: ["DCP_SHARDING_INFO": "{\(offsets[number].joined(separator: ", "))}"]))
      }
      return directory.path
    }
    let isWhole = files[1].isEmpty
    if Self.readsColumns(sample), !isWhole {
      #expect(open.quantization.tensors.count < sample.expected.count)
      #expect(open.quantization.warnings.first?.contains("is assembled from slices") == true)
      return
    }
    try open.expectNumbers(of: sample)
    let sources = open.model.shards.flatMap(\.files)
    for tensor in open.quantization.tensors {
      let elements = DequantizedElements(of: tensor, cache: StripeCache())
      for source in elements.sources(of: 0..<elements.byteCount) {
        #expect(sources.contains { $0 === source.file } && source.range.upperBound <= source.file.size)
      }
    }
    let model = try #require(Model(dequantizing: open.model, open.quantization))
    #expect(FileLayout(wholeModel: model) != nil)
  }

  /// A part of a tensor along an axis; the whole tensor, if it has no such axis.
  private static func slice(_ tensor: SafetensorsFile.Tensor, _ axis: Int, _ part: Range<Int>?)
    -> SafetensorsFile.Tensor
  {
    guard let part else { return tensor }
    let outer = tensor.shape[..<axis].reduce(1, *)
    let inner = tensor.data.count / max(1, outer * tensor.shape[axis])
    var slice = tensor
    slice.shape[axis] = part.count
    slice.data = (0..<outer).flatMap { row in
      let start = row * tensor.shape[axis] * inner
      return tensor.data[start + part.lowerBound * inner..<start + part.upperBound * inner]
    }
    return slice
  }
}
