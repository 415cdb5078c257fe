extension QuantizedSample {
  typealias Part = SafetensorsFile.Tensor
  static let module = "model.layers.0.mlp.up_proj"

  /// Samples of every format. If a format allows it, their sizes are not multiples of its blocks.
  package static let all: [QuantizedSample] =
    [
      float8Blocks(rows: 131, columns: 140, scale: "F32"), float8Blocks(rows: 20, columns: 17, scale: "BF16"),
      float8Tensor(), float8Rows(), microscaledFloat8(), int8Channels(), int8Groups(isReordered: false),
      int8Groups(isReordered: true),
      nvfp4(isModelOpt: false),
      nvfp4(isModelOpt: true), mxfp4(isDeepSeek: false), mxfp4(isDeepSeek: true), experts(isOriginal: false),
      experts(isOriginal: true), awq(), awqVector(), bitsAndBytesInt8(),
    ]
    + [1, 2, 3, 4, 5, 6, 7, 8].map { packed(bits: $0, isSymmetric: $0 % 2 == 0, isStream: true) }
    + [3, 5, 6, 7].map { packed(bits: $0, isSymmetric: false, isStream: false) }
    + [packed(bits: 4, isSymmetric: false, isStream: true, hasIndex: true)]
    + [2, 3, 4, 8].flatMap { bits in
      [1, 2].map { gptq(bits: bits, version: $0, isReordered: bits != 2) }
    }
    + ["nf4", "fp4"].flatMap { type in [false, true].map { bitsAndBytes(type, isNested: $0) } }
    + variants

  // MARK: - FP8, int8

  static func config(_ settings: String) -> String { "{\"quantization_config\": {\(settings)}}" }

  private static func float8(
    _ description: String, rows: Int, columns: Int, scaleName: String, scaleType: String, scaleShape: [Int],
    config: String?, block: (Int, Int)
  ) -> QuantizedSample {
    var data = QuantizedData(seed: UInt64(rows * 1000 + columns))
    let codes = Grid(data.codes(rows * columns, below: 256), columns: columns)
    let scales = Grid(
      data.scales(scaleShape.reduce(1, *), scaleType), columns: (columns + block.1 - 1) / block.1)
    let values = (0..<rows * columns).map { index in
      QuantizedData.scaled(
        QuantizedData.e4m3(codes.elements[index]),
        Double(scales[index / columns / block.0, index % columns / block.1]))
    }
    return QuantizedSample(
      description, config: config,
      [
        Part("\(module).weight", "F8_E4M3", [rows, columns], data: codes.elements.map { UInt8($0) }),
        Part(
          "\(module).\(scaleName)", scaleType, scaleShape,
          data: QuantizedData.bytes(scales.elements, scaleType)),
        Part("\(module).input_scale", "F32", []),
      ], expected: [("\(module).weight", [rows, columns], values)])
  }

  private static func float8Blocks(rows: Int, columns: Int, scale: String) -> QuantizedSample {
    float8(
      "FP8 blocks with \(scale) scales", rows: rows, columns: columns, scaleName: "weight_scale_inv",
      scaleType: scale, scaleShape: [(rows + 127) / 128, (columns + 127) / 128],
      config: config("\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128]"), block: (128, 128))
  }

  private static func float8Tensor() -> QuantizedSample {
    float8(
      "FP8 with a scale for the tensor, without a configuration", rows: 7, columns: 13,
      scaleName: "weight_scale",
      scaleType: "F32", scaleShape: [], config: nil, block: (7, 13))
  }

  private static func float8Rows() -> QuantizedSample {
    float8(
      "FP8 with a scale for each row", rows: 9, columns: 21, scaleName: "weight_scale", scaleType: "F32",
      scaleShape: [9, 1], config: config("\"quant_method\": \"fbgemm_fp8\""), block: (1, 21))
  }

  private static func microscaledFloat8() -> QuantizedSample {
    var data = QuantizedData(seed: 11)
    let codes = data.codes(3 * 64, below: 256)
    let powers = data.codes(3 * 2, below: 255)
    let values = codes.indices.map {
      QuantizedData.scaled(QuantizedData.e4m3(codes[$0]), QuantizedData.power(powers[$0 / 32]))
    }
    return QuantizedSample(
      "MXFP8", config: config("\"quant_method\": \"modelopt\", \"quant_algo\": \"MXFP8\""),
      [
        Part("\(module).weight", "F8_E4M3", [3, 64], data: codes.map { UInt8($0) }),
        Part("\(module).weight_scale", "U8", [3, 2], data: powers.map { UInt8($0) }),
      ], expected: [("\(module).weight", [3, 64], values)])
  }

  static func compressed(_ weights: String, version: String = "0.20.1") -> String {
    config(
      """
      "quant_method": "compressed-tensors", "version": "\(version)", "quantization_status": "compressed",
      "config_groups": {"group_0": {"targets": ["Linear"], "weights": {\(weights)}}}
      """)
  }

  private static func int8Channels() -> QuantizedSample {
    var data = QuantizedData(seed: 12)
    let codes = data.codes(5 * 11, below: 256)
    let scales = data.scales(5, "BF16")
    return QuantizedSample(
      "int8 with a scale for each row",
      config: compressed(
        "\"num_bits\": 8, \"type\": \"int\", \"strategy\": \"channel\", \"symmetric\": true"),
      [
        Part("\(module).weight", "I8", [5, 11], data: codes.map { UInt8($0) }),
        Part("\(module).weight_scale", "BF16", [5, 1], data: QuantizedData.bytes(scales, "BF16")),
      ],
      expected: [
        (
          "\(module).weight", [5, 11],
          codes.indices.map {
            QuantizedData.scaled(Float(Int8(truncatingIfNeeded: codes[$0])), Double(scales[$0 / 11]))
          }
        )
      ])
  }

  private static func int8Groups(isReordered: Bool) -> QuantizedSample {
    var data = QuantizedData(seed: 13)
    let index = (0..<24).map { isReordered ? $0 * 7 % 3 : $0 / 8 }
    let codes = data.codes(4 * 24, below: 256)
    let scales = data.scales(4 * 3, "F16")
    let zeros = data.codes(4 * 3, below: 256).map { Int(Int8(truncatingIfNeeded: $0)) }
    return QuantizedSample(
      isReordered ? "int8 with an index of groups" : "int8 with zero points for groups",
      config: compressed(
        "\"num_bits\": 8, \"type\": \"int\", \"strategy\": \"group\", \"group_size\": 8, \"symmetric\": false"
      ),
      [
        Part("\(module).weight", "I8", [4, 24], data: codes.map { UInt8($0) }),
        Part("\(module).weight_scale", "F16", [4, 3], data: QuantizedData.bytes(scales, "F16")),
        Part(
          "\(module).weight_zero_point", "I8", [4, 3], data: zeros.map { UInt8(truncatingIfNeeded: $0) }),
      ]
        + (isReordered
          ? [Part("\(module).weight_g_idx", "I32", [24], data: QuantizedData.int32(index))] : []),
      expected: [
        (
          "\(module).weight", [4, 24],
          codes.indices.map {
            let group = $0 / 24 * 3 + index[$0 % 24]
            return QuantizedData.scaled(
              Float(Int8(truncatingIfNeeded: codes[$0])), Double(scales[group]), zero: zeros[group])
          }
        )
      ])
  }

  // MARK: - Packed integers

  private static func packed(bits: Int, isSymmetric: Bool, isStream: Bool, hasIndex: Bool = false)
    -> QuantizedSample
  {
    var data = QuantizedData(seed: UInt64(bits) + (isStream ? 100 : 200))
    // There are more rows than zero points in a word, and the number of columns tells the two packings apart.
    let (rows, columns, size) = (37, 96, 24)
    let groups = columns / size
    let codes = Grid(data.codes(rows * columns, below: 1 << bits), columns: columns)
    let scales = Grid(data.scales(rows * groups, "BF16"), columns: groups)
    let zeros = Grid(data.codes(rows * groups, below: 1 << bits), columns: groups)
    let index = (0..<columns).map { hasIndex ? $0 % groups : $0 / size }
    let pack = isStream ? QuantizedData.stream : QuantizedData.words
    let lines = (0..<rows).map { pack(codes.row($0), bits) }
    let zeroColumns = (0..<groups).map { pack(zeros.column($0), bits) }
    let half = 1 << (bits - 1)
    var parts = [
      Part("\(module).weight_packed", "I32", [rows, lines[0].count / 4], data: lines.flatMap { $0 }),
      Part(
        "\(module).weight_scale", "BF16", [rows, groups], data: QuantizedData.bytes(scales.elements, "BF16")),
      Part("\(module).weight_shape", "I32", [2], data: QuantizedData.int32([rows, columns])),
    ]
    if !isSymmetric {
      parts.append(
        Part(
          "\(module).weight_zero_point", "I32", [zeroColumns[0].count / 4, groups],
          data: Grid<UInt8>.transposed(zeroColumns, wordSize: 4)))
    }
    if hasIndex {
      parts.append(Part("\(module).weight_g_idx", "I32", [columns], data: QuantizedData.int32(index)))
    }
    let values = codes.elements.indices.map { position in
      let (row, group) = (position / columns, index[position % columns])
      return QuantizedData.scaled(
        Float(codes.elements[position] - half), Double(scales[row, group]),
        zero: isSymmetric ? 0 : zeros[row, group] - half)
    }
    return QuantizedSample(
      "packed integers of \(bits) bits\(isStream ? "" : " in whole words")\(hasIndex ? " with an index" : "")",
      config: compressed(
        "\"num_bits\": \(bits), \"type\": \"int\", \"strategy\": \"group\", \"group_size\": \(size), "
          + "\"symmetric\": \(isSymmetric)", version: isStream ? "0.20.1" : "0.13.0"),
      parts, expected: [("\(module).weight", [rows, columns], values)])
  }

  // MARK: - Floating-point numbers of 4 bits

  private static func nvfp4(isModelOpt: Bool) -> QuantizedSample {
    var data = QuantizedData(seed: 31)
    let codes = data.codes(6 * 48, below: 16)
    // The codes exclude NaN.
    let scales = data.codes(6 * 3, below: 127)
    let global: Float = isModelOpt ? 0.0123 : 813.7
    let values = codes.indices.map { index -> Float in
      let scale = QuantizedData.e4m3(scales[index / 16])
      // The product of the scales is rounded to float32 first.
      let combined = Float(isModelOpt ? Double(scale) * Double(global) : Double(scale) / Double(global))
      // ModelOpt's table has no negative zero.
      let code = isModelOpt && codes[index] == 8 ? 0 : codes[index]
      return QuantizedData.scaled(QuantizedData.e2m1[code], Double(combined))
    }
    let names =
      isModelOpt
      ? (codes: "weight", global: "weight_scale_2") : (codes: "weight_packed", global: "weight_global_scale")
    return QuantizedSample(
      "NVFP4 of \(isModelOpt ? "ModelOpt" : "compressed-tensors")", config: nil,
      [
        Part("\(module).\(names.codes)", "U8", [6, 24], data: QuantizedData.nibbles(codes)),
        Part("\(module).weight_scale", "F8_E4M3", [6, 3], data: scales.map { UInt8($0) }),
        Part("\(module).\(names.global)", "F32", [1], data: QuantizedData.bytes([global], "F32")),
        Part("\(module).input_global_scale", "F32", [1]),
      ], expected: [("\(module).weight", [6, 48], values)])
  }

  private static func mxfp4(isDeepSeek: Bool) -> QuantizedSample {
    var data = QuantizedData(seed: 32)
    let codes = data.codes(5 * 64, below: 16)
    let powers = data.codes(5 * 2, below: 255)
    let values = codes.indices.map {
      QuantizedData.scaled(QuantizedData.e2m1[codes[$0]], QuantizedData.power(powers[$0 / 32]))
    }
    return QuantizedSample(
      "MXFP4 of \(isDeepSeek ? "DeepSeek-V4" : "compressed-tensors")",
      config: isDeepSeek ? config("\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128]") : nil,
      [
        Part(
          "\(module).\(isDeepSeek ? "weight" : "weight_packed")", isDeepSeek ? "I8" : "U8", [5, 32],
          data: QuantizedData.nibbles(codes)),
        Part(
          "\(module).\(isDeepSeek ? "scale" : "weight_scale")", isDeepSeek ? "F8_E8M0" : "U8", [5, 2],
          data: powers.map { UInt8($0) }),
      ], expected: [("\(module).weight", [5, 64], values)])
  }

  private static func experts(isOriginal: Bool) -> QuantizedSample {
    var data = QuantizedData(seed: 33)
    let (experts, outputs, inputs) = (2, 6, 64)
    let codes = data.codes(experts * outputs * inputs, below: 16)
    let powers = data.codes(codes.count / 32, below: 255)
    let stored = codes.indices.map {
      QuantizedData.scaled(QuantizedData.e2m1[codes[$0]], QuantizedData.power(powers[$0 / 32]))
    }
    let transposed = (0..<experts).flatMap { expert in
      (0..<inputs).flatMap { input in (0..<outputs).map { stored[(expert * outputs + $0) * inputs + input] } }
    }
    let name = isOriginal ? "block.0.mlp.mlp1_weight" : "model.layers.0.mlp.experts.gate_up_proj"
    let dot = isOriginal ? "." : "_"
    return QuantizedSample(
      "gpt-oss's experts under \(isOriginal ? "OpenAI's" : "Hugging Face's") names", config: nil,
      [
        Part(
          "\(name)\(dot)blocks", "U8", [experts, outputs, inputs / 32, 16], data: QuantizedData.nibbles(codes)
        ),
        Part("\(name)\(dot)scales", "U8", [experts, outputs, inputs / 32], data: powers.map { UInt8($0) }),
        Part("\(name)_bias", "BF16", [experts, outputs]),
      ],
      expected: [
        isOriginal
          ? (name, [experts, outputs, inputs], stored) : (name, [experts, inputs, outputs], transposed)
      ])
  }

  // MARK: - GPTQ, AWQ

  private static func gptq(bits: Int, version: Int, isReordered: Bool) -> QuantizedSample {
    var data = QuantizedData(seed: UInt64(bits * 10 + version))
    let (inputs, outputs, groups) = (96, 64, 3)
    let mask = 1 << bits - 1
    let codes = Grid(data.codes(outputs * inputs, below: mask + 1), columns: inputs)
    let zeros = Grid(data.codes(groups * outputs, below: mask + 1), columns: outputs)
    let scales = Grid(data.scales(groups * outputs, "F16"), columns: outputs)
    let index = (0..<inputs).map { isReordered ? $0 * 7 % groups : $0 / 32 }
    let stored = zeros.elements.map { version == 1 ? ($0 - 1) & mask : $0 }
    let columns = (0..<outputs).map { QuantizedData.stream(codes.row($0), bits) }
    let values = codes.elements.indices.map { position in
      let (output, group) = (position / inputs, index[position % inputs])
      return QuantizedData.scaled(
        Float(codes.elements[position]), Double(scales[group, output]), zero: zeros[group, output])
    }
    let format = version == 1 ? "gptq" : "gptq_v2"
    var parts = [
      Part(
        "\(module).qweight", "I32", [inputs * bits / 32, outputs],
        data: Grid<UInt8>.transposed(columns, wordSize: 4)),
      Part(
        "\(module).qzeros", "I32", [groups, outputs * bits / 32],
        data: (0..<groups).flatMap {
          QuantizedData.stream(Array(stored[$0 * outputs..<($0 + 1) * outputs]), bits)
        }),
      Part("\(module).scales", "F16", [groups, outputs], data: QuantizedData.bytes(scales.elements, "F16")),
    ]
    if isReordered {
      parts.append(Part("\(module).g_idx", "I32", [inputs], data: QuantizedData.int32(index)))
    }
    return QuantizedSample(
      "GPTQ of \(bits) bits, version \(version)\(isReordered ? ", reordered" : "")",
      config: config(
        "\"quant_method\": \"gptq\", \"bits\": \(bits), \"group_size\": 32, \"sym\": false, \"checkpoint_format\": \"\(format)\""
      ), parts, expected: [("\(module).weight", [outputs, inputs], values)])
  }

  /// For each nibble of a word, from the lowest up, which of eight neighbouring codes it holds.
  private static let awqNeighbours = [0, 2, 4, 6, 1, 3, 5, 7]

  private static func awqWords(_ codes: [Int]) -> [UInt8] {
    QuantizedData.stream(
      stride(from: 0, to: codes.count, by: 8).flatMap { start in awqNeighbours.map { codes[start + $0] } }, 4)
  }

  private static func awq() -> QuantizedSample {
    var data = QuantizedData(seed: 41)
    let (inputs, outputs, groups) = (64, 40, 2)
    let codes = Grid(data.codes(inputs * outputs, below: 16), columns: outputs)
    let zeros = Grid(data.codes(groups * outputs, below: 16), columns: outputs)
    let scales = Grid(data.scales(groups * outputs, "F16"), columns: outputs)
    let values = (0..<outputs * inputs).map { position in
      let (output, input) = (position / inputs, position % inputs)
      return QuantizedData.scaled(
        Float(codes[input, output]), Double(scales[input / 32, output]), zero: zeros[input / 32, output])
    }
    return QuantizedSample(
      "AWQ without a configuration", config: nil,
      [
        Part(
          "\(module).qweight", "I32", [inputs, outputs / 8],
          data: (0..<inputs).flatMap { awqWords(codes.row($0)) }),
        Part(
          "\(module).qzeros", "I32", [groups, outputs / 8],
          data: (0..<groups).flatMap { awqWords(zeros.row($0)) }),
        Part(
          "\(module).scales", "F16", [groups, outputs], data: QuantizedData.bytes(scales.elements, "F16")),
      ], expected: [("\(module).weight", [outputs, inputs], values)])
  }

  private static func awqVector() -> QuantizedSample {
    var data = QuantizedData(seed: 42)
    let (inputs, outputs, room) = (96, 10, 8)
    let codes = Grid(data.codes(outputs * inputs, below: 16), columns: inputs)
    let zeros = Grid(data.codes(outputs * room, below: 16), columns: room)
    let scales = Grid(data.scales(outputs * room, "F16"), columns: room)
    let values = codes.elements.indices.map { position in
      let (output, group) = (position / inputs, position % inputs / 32)
      return QuantizedData.scaled(
        Float(codes.elements[position]), Double(scales[output, group]), zero: zeros[output, group])
    }
    return QuantizedSample(
      "AWQ for vectors",
      config: config("\"quant_method\": \"awq\", \"bits\": 4, \"group_size\": 32, \"version\": \"gemv\""),
      [
        Part(
          "\(module).qweight", "I32", [outputs, inputs / 8], data: QuantizedData.stream(codes.elements, 4)),
        Part("\(module).qzeros", "I32", [outputs, 1], data: QuantizedData.stream(zeros.elements, 4)),
        Part("\(module).scales", "F16", [outputs, room], data: QuantizedData.bytes(scales.elements, "F16")),
      ], expected: [("\(module).weight", [outputs, inputs], values)])
  }

  // MARK: - bitsandbytes

  private static func bitsAndBytes(_ type: String, isNested: Bool) -> QuantizedSample {
    var data = QuantizedData(seed: isNested ? 51 : 52)
    // An odd number of values, an incomplete last block, and more blocks than one outer block has.
    let (rows, columns, size, outerSize) = (151, 77, 32, 256)
    let count = rows * columns
    let blocks = (count + size - 1) / size
    let codes = data.codes(count, below: 16) + [0]
    let table = table(type)
    var scales = data.scales(blocks, "F32")
    var parts: [Part] = []
    let name = "\(module).weight"
    let offset: Float = 0.125
    if isNested {
      let indices = data.codes(blocks, below: 256)
      let map = data.scales(256, "F32")
      let outer = data.scales((blocks + outerSize - 1) / outerSize, "F32")
      // Each step is rounded.
      scales = indices.enumerated().map { position, index in
        Float(Double(Float(Double(map[index]) * Double(outer[position / outerSize]))) + Double(offset))
      }
      parts = [
        Part("\(name).absmax", "U8", [blocks], data: indices.map { UInt8($0) }),
        Part("\(name).nested_absmax", "F32", [outer.count], data: QuantizedData.bytes(outer, "F32")),
        Part("\(name).nested_quant_map", "F32", [256], data: QuantizedData.bytes(map, "F32")),
      ]
    } else {
      parts = [Part("\(name).absmax", "F32", [blocks], data: QuantizedData.bytes(scales, "F32"))]
    }
    let nested =
      isNested
      ? ", \"nested_blocksize\": \(outerSize), \"nested_dtype\": \"float32\", \"nested_offset\": \(offset)"
      : ""
    let state =
      "{\"quant_type\": \"\(type)\", \"blocksize\": \(size), \"dtype\": \"bfloat16\", \"shape\": [\(rows), \(columns)]\(nested)}"
    let bytes = stride(from: 0, to: count, by: 2).map { UInt8(codes[$0] << 4 | codes[$0 + 1]) }
    let values = (0..<count).map { QuantizedData.scaled(table[codes[$0]], Double(scales[$0 / size])) }
    return QuantizedSample(
      "bitsandbytes \(type)\(isNested ? ", nested" : "")",
      config: config("\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true"),
      [
        Part(name, "U8", [bytes.count, 1], data: bytes),
        Part("\(name).quant_map", "F32", [16], data: QuantizedData.bytes(table, "F32")),
        Part(
          "\(name).quant_state.bitsandbytes__\(type)", "U8", [state.utf8.count], data: Array(state.utf8)),
      ] + parts, expected: [(name, [rows, columns], values)])
  }

  private static func table(_ type: String) -> [Float] {
    if type == "fp4" {
      let positive = [0, 0.0625, 8, 12, 4, 6, 2, 3].map { (value: Float) in value / 12 }
      // The reference's -0 is Python's integer, so it is 0.
      return positive + positive.map { $0 == 0 ? 0 : -$0 }
    }
    return [
      -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
      -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
      0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023,
      1.0,
    ]
  }

  private static func bitsAndBytesInt8() -> QuantizedSample {
    var data = QuantizedData(seed: 53)
    let codes = data.codes(9 * 14, below: 256)
    let scales = data.scales(9, "F32")
    let values = codes.indices.map { index -> Float in
      // The result is rounded twice.
      let product = QuantizedData.scaled(
        Float(Int8(truncatingIfNeeded: codes[index])), Double(scales[index / 14]))
      return Float(Double(product) * Double(0.007874015718698502 as Float))
    }
    return QuantizedSample(
      "bitsandbytes int8", config: config("\"quant_method\": \"bitsandbytes\", \"load_in_8bit\": true"),
      [
        Part("\(module).weight", "I8", [9, 14], data: codes.map { UInt8($0) }),
        Part("\(module).SCB", "F32", [9], data: QuantizedData.bytes(scales, "F32")),
        Part("\(module).weight_format", "U8", [], data: [0]),
      ], expected: [("\(module).weight", [9, 14], values)])
  }
}
