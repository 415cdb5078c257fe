internal import Safetensors

/// GPTQ and AWQ: `qweight`, `qzeros` and `scales`. The weight is stored transposed.
struct ColumnPacked {
  private let module: QuantizedModule
  private let weight: TensorPart
  private let zeros: TensorPart
  private let scales: TensorPart
  private let index: TensorPart?

  /// Reads the module whose key is `qweight`.
  static func recognise(_ module: QuantizedModule) throws(Refusal) -> QuantizedTensor {
    let parts = try ColumnPacked(module)
    switch module.config.family {
    case .gptq: return try parts.gptq()
    case .awq:
      let isVector = module.config.packings.contains("gemv")
      return try isVector ? parts.awqVector() : parts.awq()
    case nil:
      // AWQ (gemm) packs eight outputs into a word, GPTQ one.
      let (_, words) = try parts.weight.matrix()
      let (_, outputs) = try parts.scales.matrix()
      guard outputs == (try product([words, 8])) else {
        throw Refusal("it looks like GPTQ; without a configuration, its zero points are ambiguous")
      }
      return try parts.awq()
    default: throw Refusal("it has the tensors of GPTQ or AWQ, but the configuration names another format")
    }
  }

  private init(_ module: QuantizedModule) throws(Refusal) {
    self.module = module
    weight = module.key
    try weight.require([.i32])
    zeros = try module.require("qzeros", .i32)
    scales = try module.require("scales", .f16, .bf16, .f32)
    index = module.part("g_idx")
  }

  private var name: TensorName { TensorName(utf8: module.prefix + "weight".utf8) }

  // MARK: - GPTQ

  private func gptq() throws(Refusal) -> QuantizedTensor {
    let (words, outputs) = try weight.matrix()
    let (groups, scaleColumns) = try scales.matrix()
    let (zeroRows, zeroWords) = try zeros.matrix()
    guard scaleColumns == outputs else {
      throw Refusal("scales is \(scales.size), but qweight has \(PrintableText.counted(outputs, "column"))")
    }
    guard zeroRows == groups else {
      throw Refusal("qzeros is \(zeros.size), but scales has \(PrintableText.counted(groups, "row"))")
    }
    if ModuleClass(of: module.name) == .embedding {
      throw Refusal("it is an embedding, and writers of GPTQ disagree on the order of its dimensions")
    }
    let bits = try width(words: words, zeroWords: zeroWords, outputs)
    let inputs = try product([words, 32]) / bits
    let groupSize = try groupSize(inputs, groups)
    var arithmetic = DequantizationArithmetic(
      count: try product([inputs, outputs]), columns: inputs,
      codes: QuantizedCodes(
        view: try weight.transposedView(), rowBytes: words * 4, width: Int(bits), packing: .stream,
        values: .unsigned),
      scales: ScaleGrid(
        view: try scales.transposedView(),
        blocks: BlockGrid(rows: outputs, columnBlock: groupSize, blocks: groups)))
    arithmetic.groupIndex = try groupIndex(inputs, groups, groupSize)
    let (increment, note) = try increment(Int(bits))
    arithmetic.zeros = ZeroPoints(
      view: try zeros.view(), packing: .alongColumns, width: Int(bits), increment: increment, groups: groups)
    return QuantizedTensor(
      name: name, shape: [outputs, inputs], format: .gptq,
      sources: ([weight, scales, zeros] + (index.map { [$0] } ?? [])).map(\.place), arithmetic: arithmetic,
      note: note)
  }

  /// The width of a code. Of the widths in the configuration, the shapes decide; if several fit, the number
  /// of groups and the index do.
  private func width(words: UInt64, zeroWords: UInt64, _ outputs: UInt64) throws(Refusal) -> UInt64 {
    let given = configuredWidths.sorted()
    let weightBits = try product([words, 32])
    _ = try product([outputs, 8])
    var fitting = given.map { UInt64($0) }.filter {
      weightBits % $0 == 0 && zeroWords == divided(outputs * $0, by: 32)
    }
    if fitting.count > 1, let index { fitting.removeAll { index.shape != [weightBits / $0] } }
    guard fitting.count < 2 else {
      throw Refusal("its shapes fit codes of several widths in the configuration")
    }
    guard let bits = fitting.first else {
      let given = given.map(String.init).joined(separator: " or ")
      throw Refusal(
        "qweight is \(weight.size) and qzeros is \(zeros.size), which do not fit \(outputs) outputs with codes of "
          + (given.isEmpty ? "unknown width" : "\(given) bits")
      )
    }
    return bits
  }

  /// The widths that the configuration gives for any module.
  private var configuredWidths: Set<Int> {
    let settings = module.config.settings
    let own = settings["dynamic"]?.object.map { $0.values.compactMap { $0["bits"]?.integer } } ?? []
    return Set(own + (settings["bits"]?.integer.map { [$0] } ?? [])).intersection([2, 3, 4, 8])
  }

  /// The number of columns in a group, unless an index assigns groups.
  private func groupSize(_ inputs: UInt64, _ groups: UInt64) throws(Refusal) -> UInt64 {
    if index != nil { return divided(inputs, by: groups) }
    let given = module.config.settings["group_size"]?.integer ?? -1
    let size = given > 0 ? UInt64(given) : inputs
    if divided(inputs, by: size) == groups { return size }
    guard module.config.settings["dynamic"] != nil, inputs % groups == 0 else {
      throw Refusal(
        "scales has \(PrintableText.counted(groups, "group")), which does not fit \(inputs) inputs in groups of \(size)"
      )
    }
    return inputs / groups
  }

  /// The group of each column; nil if columns are grouped in order.
  private func groupIndex(_ inputs: UInt64, _ groups: UInt64, _ groupSize: UInt64) throws(Refusal)
    -> TensorView?
  {
    guard let index else { return nil }
    try index.require([.i32])
    try index.require(shape: [inputs], "\(PrintableText.counted(inputs, "input"))")
    let numbers = try index.integers()
    if let wrong = numbers.first(where: { $0 < 0 || UInt64($0) >= groups }) {
      throw Refusal("g_idx contains \(wrong), but there are \(PrintableText.counted(groups, "group"))")
    }
    if groups > 1, numbers.allSatisfy({ $0 == 0 }) {
      throw Refusal("g_idx contains only 0, but there are \(groups) groups")
    }
    let isUsual = numbers.enumerated().allSatisfy { $0.element == $0.offset / Int(groupSize) }
    return isUsual ? nil : try index.view()
  }

  /// What to add to a stored zero point: 1 in version 1 of the format, 0 in version 2.
  ///
  /// With symmetric quantisation, each zero point is half the number of codes. If all stored zero points
  /// contradict the version in the configuration, the data decides, with a note.
  private func increment(_ bits: Int) throws(Refusal) -> (Int, note: String?) {
    let settings = module.config.settings
    let format = (settings["checkpoint_format"] ?? settings["format"])?.string?.lowercased() ?? "gptq"
    let labelled = format == "gptq_v2" ? 0 : 1
    guard settings["sym"]?.bool == true else { return (labelled, nil) }
    let half = 1 << (bits - 1)
    // Read only if the data may contradict the label.
    let contradicting = try isFilled(with: labelled == 1 ? half : half - 1, bits)
    guard contradicting else { return (labelled, nil) }
    return (
      1 - labelled,
      "the configuration says \(format), but every zero point is as in \(labelled == 1 ? "gptq_v2" : "gptq"), which stmount uses"
    )
  }

  private func isFilled(with code: Int, _ bits: Int) throws(Refusal) -> Bool {
    // 96 bits hold whole codes of every width.
    var pattern = [UInt8](repeating: 0, count: 12)
    for bit in 0..<96 where code >> (bit % bits) & 1 == 1 { pattern[bit / 8] |= 1 << UInt8(bit % 8) }
    let rowBits = scales.shape[1] * UInt64(bits)
    let rowBytes = zeros.shape[1] * 4
    let step: UInt64 = 4092
    var row: UInt64 = 0
    while row < zeros.shape[0] {
      var offset: UInt64 = 0
      while offset < rowBytes {
        let end = min(offset + step, rowBytes)
        let bytes: [UInt8]
        do {
          bytes = try zeros.shard.read(zeros.tensor, row * rowBytes + offset..<row * rowBytes + end)
        } catch {
          throw Refusal("cannot read qzeros: \(error)")
        }
        for (position, byte) in bytes.enumerated() {
          // The last word may have unused bits.
          let first = (offset + UInt64(position)) * 8
          let used = first + 8 <= rowBits ? 0xFF : UInt8((1 << (max(first, rowBits) - first)) - 1)
          if (byte ^ pattern[position % 12]) & used != 0 { return false }
        }
        offset = end
      }
      row += 1
    }
    return true
  }

  // MARK: - AWQ

  /// Reads AWQ's gemm packing: along the outputs, eight in a word.
  private func awq() throws(Refusal) -> QuantizedTensor {
    try requireFourBits()
    let (inputs, words) = try weight.matrix()
    let outputs = try product([words, 8])
    let (groups, scaleColumns) = try scales.matrix()
    guard scaleColumns == outputs else {
      throw Refusal("scales is \(scales.size), but qweight of \(weight.size) has \(outputs) outputs")
    }
    try zeros.require(shape: [groups, words], "scales of \(scales.size)")
    let size = try awqGroupSize(inputs, groups)
    return QuantizedTensor(
      name: name, shape: [outputs, inputs], format: .awq, sources: [weight, scales, zeros].map(\.place),
      arithmetic: DequantizationArithmetic(
        count: try product([inputs, outputs]), columns: inputs,
        codes: QuantizedCodes(
          view: try weight.transposedView(), rowBytes: try product([inputs, 4]), width: 4,
          packing: .wordPlanes, values: .unsigned),
        scales: ScaleGrid(
          view: try scales.transposedView(),
          blocks: BlockGrid(rows: outputs, columnBlock: size, blocks: groups)),
        zeros: ZeroPoints(view: try zeros.view(), packing: .alongColumnsAWQ, width: 4, groups: groups)))
  }

  /// Reads AWQ's gemv packing: along the inputs, in order. Zero points and scales may have room for more
  /// groups.
  private func awqVector() throws(Refusal) -> QuantizedTensor {
    try requireFourBits()
    let (outputs, words) = try weight.matrix()
    let inputs = try product([words, 8])
    let (zeroRows, zeroWords) = try zeros.matrix()
    let room = try product([zeroWords, 8])
    guard zeroRows == outputs else {
      throw Refusal("qzeros is \(zeros.size), but qweight has \(outputs) rows")
    }
    try scales.require(shape: [outputs, room], "qzeros of \(zeros.size)")
    let given = module.config.settings["q_group_size"] ?? module.config.settings["group_size"]
    let size = given?.integer.flatMap { $0 > 0 ? UInt64($0) : inputs } ?? 0
    guard size > 0, inputs % size == 0, inputs / size <= room else {
      throw Refusal("scales is \(scales.size), which does not fit \(inputs) inputs in groups of \(size)")
    }
    return QuantizedTensor(
      name: name, shape: [outputs, inputs], format: .awq, sources: [weight, scales, zeros].map(\.place),
      arithmetic: DequantizationArithmetic(
        count: try product([inputs, outputs]), columns: inputs,
        codes: QuantizedCodes(
          view: try weight.view(), rowBytes: try product([words, 4]), width: 4, packing: .stream,
          values: .unsigned),
        scales: ScaleGrid(
          view: try scales.view(),
          blocks: BlockGrid(rows: outputs, columnBlock: size, blocks: room)),
        zeros: ZeroPoints(view: try zeros.view(), packing: .perRow, width: 4, groups: room)))
  }

  private func requireFourBits() throws(Refusal) {
    let settings = module.config.settings
    let bits = (settings["bits"] ?? settings["w_bit"])?.integer ?? 4
    guard bits == 4 else { throw Refusal("the configuration says \(bits) bits, but AWQ has 4") }
    if index != nil { throw Refusal("it has a g_idx, which AWQ does not use") }
  }

  private func awqGroupSize(_ inputs: UInt64, _ groups: UInt64) throws(Refusal) -> UInt64 {
    guard inputs % groups == 0 else {
      throw Refusal("\(inputs) inputs are not a multiple of \(groups) groups")
    }
    let size = inputs / groups
    let given = (module.config.settings["group_size"] ?? module.config.settings["q_group_size"])?.integer
    if let given, given > 0, UInt64(given) != size {
      throw Refusal(
        "scales has \(PrintableText.counted(groups, "group")), which does not fit \(inputs) inputs in groups of \(given)"
      )
    }
    return size
  }
}
