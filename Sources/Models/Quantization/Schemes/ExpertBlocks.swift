internal import Safetensors

/// MXFP4 of gpt-oss: `X_blocks` and `X_scales`, or `X.blocks` and `X.scales` in OpenAI's own files.
enum ExpertBlocks {
  /// The number of values with a common scale, and the number of bytes they take.
  private static let blockSize: UInt64 = 32
  private static let blockBytes: UInt64 = 16

  /// Reads the tensors whose key is the blocks. Nil if there are no scales: then the tensor is not quantised.
  static func recognise(_ module: QuantizedModule, separator: String) throws(Refusal) -> QuantizedTensor? {
    let blocks = module.key
    guard let scales = module.part("scales") else {
      if module.config.family == .gptOSS { throw Refusal("\(separator)scales is missing") }
      return nil
    }
    try scales.require([.u8, .f8e8m0])
    let shape = blocks.shape
    // bf16 checkpoints under Hugging Face's names are transposed, so these are too.
    let isTransposed = separator == "_"
    guard isTransposed ? shape.count == 4 : shape.count >= 3, shape.last == blockBytes, !shape.contains(0)
    else {
      throw Refusal("\(blocks.label) is \(blocks.size), not blocks of \(blockBytes) bytes")
    }
    try scales.require(shape: Array(shape.dropLast()), "\(blocks.label) of \(blocks.size)")
    let columns = try product([shape[shape.count - 2], blockSize])
    let rows = shape[shape.count - 3]
    let stack = Array(shape.dropLast(3))
    let matrices = try product(stack)
    let count = try product(stack + [rows, columns])
    guard let codes = try blocks.view().joiningLastDimensions else {
      throw Refusal("the elements of \(blocks.label) are not contiguous")
    }
    let values = QuantizedCodes.Values.float(.f4)
    let arithmetic =
      isTransposed
      ? DequantizationArithmetic(
        count: count, columns: rows,
        codes: QuantizedCodes(
          view: try transposed(codes, blocks), rowBytes: rows, width: 4, packing: .bytePlanes, values: values),
        scales: ScaleGrid(
          view: try scales.transposedView().read(as: .f8e8m0),
          blocks: BlockGrid(of: (columns, rows), (blockSize, 1))))
      : DequantizationArithmetic(
        count: count, columns: columns,
        codes: QuantizedCodes(
          view: codes, rowBytes: columns / 2, width: 4, packing: .stream, values: values),
        scales: ScaleGrid(
          view: try scales.view().read(as: .f8e8m0),
          blocks: BlockGrid(of: (try product([matrices, rows]), columns), (1, blockSize))))
    return QuantizedTensor(
      name: TensorName(utf8: module.prefix.dropLast()),
      shape: stack + (isTransposed ? [columns, rows] : [rows, columns]), format: .microscaledFloat4,
      sources: [blocks.place, scales.place], arithmetic: arithmetic)
  }

  private static func transposed(_ codes: TensorView, _ blocks: TensorPart) throws(Refusal) -> TensorView {
    guard let view = codes.transposed else {
      throw Refusal("\(blocks.label) is assembled from slices, which cannot be read by columns")
    }
    return view
  }
}
