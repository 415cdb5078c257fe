extension QuantizedSample {
  /// Unusual layouts that the formats' libraries also write.
  static let variants: [QuantizedSample] = [
    packedBlocks(), transposedExperts(isDown: false), transposedExperts(isDown: true), mergedExperts(),
    modelOptExperts(), asymmetricFloat8(), raggedGPTQ(bits: 3), raggedGPTQ(bits: 4),
  ]

  /// compressed-tensors also packs integers with scales of blocks. Their zero points are bytes.
  private static func packedBlocks() -> QuantizedSample {
    var data = QuantizedData(seed: 61)
    let (rows, columns, block) = (32, 48, 16)
    let codes = Grid(data.codes(rows * columns, below: 8), columns: columns)
    let scales = Grid(data.scales(2 * 3, "BF16"), columns: 3)
    let zeros = Grid(data.codes(2 * 3, below: 8), columns: 3)
    let values = codes.elements.indices.map { index in
      let (row, column) = (index / columns / block, index % columns / block)
      return QuantizedData.scaled(
        Float(codes.elements[index] - 4), Double(scales[row, column]), zero: zeros[row, column] - 4)
    }
    return QuantizedSample(
      "packed integers of 3 bits in blocks",
      config: compressed(
        "\"num_bits\": 3, \"type\": \"int\", \"strategy\": \"block\", \"block_structure\": [16, 16], \"symmetric\": false"
      ),
      [
        Part(
          "\(module).weight_packed", "I32", [rows, 5],
          data: (0..<rows).flatMap { QuantizedData.stream(codes.row($0), 3) }),
        Part("\(module).weight_scale", "BF16", [2, 3], data: QuantizedData.bytes(scales.elements, "BF16")),
        Part("\(module).weight_shape", "I32", [2], data: QuantizedData.int32([rows, columns])),
        Part(
          "\(module).weight_zero_point", "I8", [2, 3],
          data: zeros.elements.map { UInt8(truncatingIfNeeded: $0 - 4) }),
      ], expected: [("\(module).weight", [rows, columns], values)])
  }

  /// The zero points of FP8 weights are FP8 numbers too.
  private static func asymmetricFloat8() -> QuantizedSample {
    var data = QuantizedData(seed: 63)
    let (rows, columns) = (7, 37)
    let codes = data.codes(rows * columns, below: 256)
    let scales = data.scales(rows, "BF16")
    // The codes exclude NaN.
    let zeros = data.codes(rows, below: 127)
    let values = codes.indices.map { index in
      let zero = Double(QuantizedData.e4m3(zeros[index / columns]))
      return Float((Double(QuantizedData.e4m3(codes[index])) - zero) * Double(scales[index / columns]))
    }
    return QuantizedSample(
      "FP8 with zero points",
      config: compressed(
        "\"num_bits\": 8, \"type\": \"float\", \"strategy\": \"channel\", \"symmetric\": false"),
      [
        Part("\(module).weight", "F8_E4M3", [rows, columns], data: codes.map { UInt8($0) }),
        Part("\(module).weight_scale", "BF16", [rows, 1], data: QuantizedData.bytes(scales, "BF16")),
        Part("\(module).weight_zero_point", "F8_E4M3", [rows, 1], data: zeros.map { UInt8($0) }),
      ], expected: [("\(module).weight", [rows, columns], values)])
  }

  private static let experts = "model.layers.0.feed_forward.experts"

  /// FP8 experts: codes, and values with the scale that `scale` returns for a row and a column of an expert.
  private static func experts(
    _ description: String, config: String, _ name: String, rows: Int, columns: Int, scaleName: String,
    scaleShape: [Int], _ scale: (_ expert: Int, _ row: Int, _ column: Int) -> Int
  ) -> QuantizedSample {
    var data = QuantizedData(seed: 62)
    let codes = data.codes(2 * rows * columns, below: 256)
    let scales = data.scales(scaleShape.reduce(1, *), "F32")
    let values = codes.indices.map { index in
      let (expert, row, column) = (index / columns / rows, index / columns % rows, index % columns)
      return QuantizedData.scaled(
        QuantizedData.e4m3(codes[index]), Double(scales[scale(expert, row, column)]))
    }
    let shape = [2, rows, columns]
    return QuantizedSample(
      description, config: config,
      [
        Part("\(experts).\(name)", "F8_E4M3", shape, data: codes.map { UInt8($0) }),
        Part("\(experts).\(scaleName)", "F32", scaleShape, data: QuantizedData.bytes(scales, "F32")),
      ], expected: [("\(experts).\(name)", shape, values)])
  }

  /// Llama 4 stores experts transposed, but not the scales of down_proj. A reader could mistake the scales of a square matrix for
  /// scales of rows.
  private static func transposedExperts(isDown: Bool) -> QuantizedSample {
    let size = 12
    let name = isDown ? "down_proj" : "gate_up_proj"
    return experts(
      "Llama 4's \(name)", config: config("\"quant_method\": \"fbgemm_fp8\""), name, rows: size,
      columns: size,
      scaleName: "\(name)_scale", scaleShape: isDown ? [2, size, 1] : [2, 1, size]
    ) { expert, _, column in expert * size + column }
  }

  /// Without blocks, each half of gate_up_proj has one scale.
  private static func mergedExperts() -> QuantizedSample {
    experts(
      "FP8 experts without blocks",
      config: config("\"quant_method\": \"fp8\", \"weight_block_size\": null"), "gate_up_proj", rows: 260,
      columns: 9,
      scaleName: "gate_up_proj_scale_inv", scaleShape: [2, 2, 1]
    ) { expert, row, _ in expert * 2 + row / 130 }
  }

  private static func modelOptExperts() -> QuantizedSample {
    experts(
      "FP8 experts of ModelOpt", config: config("\"quant_method\": \"modelopt\", \"quant_algo\": \"FP8\""),
      "down_proj", rows: 5, columns: 7, scaleName: "down_proj_weight_scale", scaleShape: [2, 1]
    ) { expert, _, _ in expert }
  }

  /// GPTQ whose zero points do not fill the last word.
  private static func raggedGPTQ(bits: Int) -> QuantizedSample {
    var data = QuantizedData(seed: UInt64(63 + bits))
    let (inputs, outputs) = (64, 11)
    let codes = Grid(data.codes(outputs * inputs, below: 1 << bits), columns: inputs)
    let zeros = data.codes(outputs, below: 1 << bits)
    let scales = data.scales(outputs, "F16")
    let values = codes.elements.indices.map { index in
      QuantizedData.scaled(
        Float(codes.elements[index]), Double(scales[index / inputs]), zero: zeros[index / inputs])
    }
    let words = QuantizedData.stream(zeros, bits)
    return QuantizedSample(
      "GPTQ of \(bits) bits, ragged",
      config: config(
        "\"quant_method\": \"gptq\", \"bits\": \(bits), \"group_size\": -1, \"sym\": false, \"format\": \"gptq_v2\""
      ),
      [
        Part(
          "\(module).qweight", "I32", [inputs * bits / 32, outputs],
          data: Grid<UInt8>.transposed(
            (0..<outputs).map { QuantizedData.stream(codes.row($0), bits) }, wordSize: 4)),
        Part("\(module).qzeros", "I32", [1, words.count / 4], data: words),
        Part("\(module).scales", "F16", [1, outputs], data: QuantizedData.bytes(scales, "F16")),
      ], expected: [("\(module).weight", [outputs, inputs], values)])
  }
}
