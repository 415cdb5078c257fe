import Fixtures
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// The recogniser of quantised models, and the kernels that compute them. An input is a configuration, NUL, and a model.
enum QuantizationFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] {
    QuantizedSample.all.map { Array(($0.config ?? "{}").utf8) + [0] + $0.file.bytes }
  }

  static var words: [String] {
    [
      "weight_scale_inv", "weight_scale", "weight_packed", "weight_shape", "weight_zero_point",
      "weight_g_idx",
      "weight_global_scale", "weight_scale_2", "qweight", "qzeros", "scales", "g_idx", "_blocks", "_scales",
      "absmax",
      "quant_map", "nested_absmax", "SCB", "quantization_config", "quant_method", "num_bits", "group_size",
      "strategy",
      "compressed-tensors", "gptq", "awq", "fp8", "modelopt", "bitsandbytes",
    ] + DType.allCases.map { "\"\($0.name)\"" }
  }

  /// The maximum number of bytes that are computed of one tensor.
  private static let window = 64 << 10

  static func test(_ input: [UInt8]) {
    let end = input.firstIndex(of: 0) ?? input.endIndex
    let path = ScratchFile.write(Array(input[min(end + 1, input.count)...]), size: 0)
    let collection = try? ModelCollection(opening: [path], OpeningOptions(lenient: true))
    guard let model = collection?.components.first?.model else { return }
    let quantization = Quantization(of: model, configuration: Array(input[..<end]))
    for warning in quantization.warnings { requirePrintable(warning) }
    let names = Set(model.places.map(model.name))
    require(quantization.hidden.allSatisfy(names.contains), "a hidden tensor is not in the model")
    var generator = generator(for: input)
    for tensor in quantization.tensors.prefix(8) {
      let elements = DequantizedElements(of: tensor, cache: StripeCache())
      require(tensor.shape.reduce(4) { $0 * $1 } == elements.byteCount, "\(tensor.name) has another size")
      let start = UInt64.random(in: 0..<elements.byteCount, using: &generator)
      let count = Int(min(elements.byteCount - start, UInt64(Int.random(in: 1...window, using: &generator))))
      var bytes = [UInt8](repeating: 0, count: count)
      var span = bytes.mutableSpan
      var target = unsafe span.mutableBytes
      fill(&target, from: start, of: elements)
      // The bytes of a number do not depend on the range of the read.
      let middle = Int.random(in: 0...count, using: &generator)
      for part in [0..<middle, middle..<count] where !part.isEmpty {
        var again = [UInt8](repeating: 0xA5, count: part.count)
        var span = again.mutableSpan
        var target = unsafe span.mutableBytes
        fill(&target, from: start + UInt64(part.lowerBound), of: elements)
        require(again == Array(bytes[part]), "\(tensor.name) depends on the range of the read")
      }
      for source in elements.sources(of: start..<start + UInt64(count)) {
        require(source.range.upperBound <= source.file.size, "\(tensor.name) has a source beyond its file")
      }
    }
    _ = Model(dequantizing: model, quantization).map { MetadataDocument.bytes(of: $0) }
  }

  private static func fill(
    _ target: inout MutableRawSpan, from offset: UInt64, of elements: DequantizedElements
  ) {
    do throws(Errno) {
      try elements.fill(&target, from: offset)
    } catch {
      fatalError("a quantised tensor cannot be read: \(error)")
    }
  }
}
