package import Safetensors
internal import SystemPackage

/// The quantised tensors of a model, if their format is supported, and the tensors that belong to them.
package struct Quantization: Sendable {
  /// The dequantised tensors, sorted by name.
  package let tensors: [QuantizedTensor]
  /// The tensors that the dequantised model omits, since ``tensors`` replaces them: scales, zero points,
  /// packed codes. In the model's order.
  package let hidden: [TensorName]
  /// One line each; safe to print.
  package let warnings: [String]

  /// Recognises a model's quantisation from the configuration files beside it and from its tensors' names,
  /// dtypes and shapes.
  ///
  /// Reads the headers, and only those values that decide whether a tensor is refused: group indexes, scales
  /// if they are few, and bitsandbytes' states. A module that leaves any doubt stays as stored, and a warning
  /// says why.
  package init(of model: Model) {
    var recogniser: ModelRecogniser
    do {
      recogniser = ModelRecogniser(model, try Self.configuration(of: model))
    } catch let error as QuantizationConfig.Unsupported {
      self.init(unread: model, error.reason)
      return
    } catch {
      self.init(unread: model, (error as? ModelError)?.description ?? "cannot read its configuration")
      return
    }
    self = recogniser.run()
  }

  /// Like ``init(of:)``, with the text of a config.json and no other file; for tests and fuzzing.
  package init(of model: Model, configuration: [UInt8]) {
    var recogniser: ModelRecogniser
    do {
      let value = try ConfigValue(reading: configuration)
      recogniser = ModelRecogniser(model, try QuantizationConfig(model: value) ?? .none)
    } catch {
      self.init(
        unread: model,
        (error as? QuantizationConfig.Unsupported)?.reason ?? "cannot read its configuration")
      return
    }
    self = recogniser.run()
  }

  init(tensors: [QuantizedTensor], hidden: [TensorName], warnings: [String]) {
    self.tensors = tensors
    self.hidden = hidden
    self.warnings = warnings
  }

  private init(unread model: Model, _ reason: String) {
    let path = model.shards.first?.file.path.printable ?? "the model"
    self.init(
      tensors: [], hidden: [],
      warnings: ["\(path): not dequantised: \(reason); its tensors are shown as they are stored"])
  }

  /// Reads the configuration in the directory of the model's files; none if they are in several directories.
  private static func configuration(of model: Model) throws -> QuantizationConfig {
    guard let directory = model.shards.first?.file.path.removingLastComponent(),
      model.shards.allSatisfy({ $0.file.path.removingLastComponent() == directory })
    else { return .none }
    return try QuantizationConfig.read(in: directory.isEmpty ? "." : directory)
  }
}

/// Visits a model's tensors once, and collects the quantised ones.
private struct ModelRecogniser {
  private var index: TensorIndex
  private let config: QuantizationConfig
  private let schemes: CompressionSchemes

  private var found: [QuantizedTensor] = []
  private var refusals: [(name: TensorName, reason: String)] = []
  /// The names of dequantised modules and tensors.
  private var done: Set<TensorName> = []

  /// The maximum number of tensors that warnings name.
  private static let namedTensors = 10

  init(_ model: Model, _ config: QuantizationConfig) {
    index = TensorIndex(model: model)
    self.config = config
    schemes = CompressionSchemes(config)
  }

  mutating func run() -> Quantization {
    var foreign: [(scheme: String, name: TensorName)] = []
    if !config.isUncompressed {
      for (position, place) in index.model.places.enumerated() {
        index.hint = position
        let key = TensorPart(
          place: place, tensor: index.model.tensor(at: place), shard: index.model.shard(at: place))
        if let scheme = ForeignScheme.name(of: key, index) { foreign.append((scheme, key.tensor.name)) }
        recognise(key)
      }
    }
    refuseClashes()
    found.sort { $0.name < $1.name }
    checkScales()
    let hidden = hidden()
    return Quantization(tensors: found, hidden: hidden, warnings: warnings(foreign))
  }

  // MARK: - Modules

  /// Checks whether a tensor is the key of a quantised module, and if so reads the module.
  private mutating func recognise(_ key: TensorPart) {
    let name = key.tensor.name.utf8
    do throws(Refusal) {
      guard let tensor = try tensor(key, name) else { return }
      found.append(tensor)
    } catch {
      refusals.append((Self.finalName(of: key), error.reason))
    }
  }

  private func tensor(_ key: TensorPart, _ name: ArraySlice<UInt8>) throws(Refusal) -> QuantizedTensor? {
    try refuseOrphan(name)
    if let prefix = name.prefix(before: "qweight") {
      return try ColumnPacked.recognise(module(key, prefix))
    }
    if let prefix = name.prefix(before: "weight_packed") {
      return try key.dtype == .u8
        ? FourBitWeights.compressed(module(key, prefix)) : PackedIntegers.recognise(module(key, prefix))
    }
    for separator in ["_", "."] where key.dtype == .u8 {
      if let prefix = name.prefix(before: separator + "blocks", keeping: separator) {
        return try ExpertBlocks.recognise(module(key, prefix), separator: separator)
      }
    }
    for type in ["nf4", "fp4"] {
      if let prefix = name.prefix(before: "quant_state.bitsandbytes__" + type) {
        return try BitsAndBytes.fourBits(module(key, prefix), type: type)
      }
    }
    return try weight(key, name)
  }

  /// Parts that make no sense without one of their owners.
  private static let owners: [(part: String, owners: [String])] = [
    ("qzeros", ["qweight"]), ("weight_shape", ["weight_packed"]), ("weight_scale_inv", ["weight"]),
    ("weight_global_scale", ["weight_packed"]), ("weight_scale_2", ["weight"]),
    ("quant_map", ["quant_state.bitsandbytes__nf4", "quant_state.bitsandbytes__fp4"]),
  ]

  /// Refuses a part whose codes are missing. Otherwise the weight would be missing without a warning.
  private func refuseOrphan(_ name: ArraySlice<UInt8>) throws(Refusal) {
    // Fast path: most tensors are weights or biases.
    if name.hasSuffix("weight") || name.hasSuffix("bias") { return }
    for (part, owners) in Self.owners {
      guard let prefix = name.prefix(before: part) else { continue }
      if owners.allSatisfy({ index.place(of: TensorName(utf8: prefix + $0.utf8)) == nil }) {
        throw Refusal("its \(owners[0]) is missing")
      }
    }
  }

  /// Reads a module whose dequantised weight has the name of the stored one.
  private func weight(_ key: TensorPart, _ name: ArraySlice<UInt8>) throws(Refusal) -> QuantizedTensor? {
    let prefix = name.prefix(before: "weight")
    switch key.dtype {
    case .f8e4m3, .f8e5m2:
      // Some scales and zero points are FP8 too.
      let others = ["scale", "scale_inv", "scales", "zero_point"]
      if others.contains(where: name.hasSuffix) { return nil }
      return try ByteWeights.recognise(module(key, prefix ?? name))
    case .i8:
      guard !name.hasSuffix("zero_point") else { return nil }
      let module = module(key, prefix ?? name)
      if prefix != nil, let scale = module.part("SCB") { return try BitsAndBytes.int8(module, scale) }
      return try ByteWeights.recognise(module)
    case .u8:
      guard let prefix else {
        guard module(key, name).sibling("_weight_scale") != nil else { return nil }
        throw Refusal("packed experts in one tensor have dimensions in an order that differs by architecture")
      }
      return try FourBitWeights.modelOpt(module(key, prefix))
    default: return nil
    }
  }

  private func module(_ key: TensorPart, _ prefix: ArraySlice<UInt8>) -> QuantizedModule {
    QuantizedModule(index: index, config: config, schemes: schemes, key: key, prefix: prefix)
  }

  /// The name that a dequantised tensor would have.
  private static func finalName(of key: TensorPart) -> TensorName {
    let name = key.tensor.name.utf8
    for part in ["qweight", "weight_packed"] {
      if let prefix = name.prefix(before: part) { return TensorName(utf8: prefix + "weight".utf8) }
    }
    for part in ["_blocks", ".blocks", ".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4"]
    where name.hasSuffix(part) {
      return TensorName(utf8: name.dropLast(part.utf8.count))
    }
    return key.tensor.name
  }

  /// Refuses dequantised tensors whose name another tensor has.
  private mutating func refuseClashes() {
    let uses = Dictionary(grouping: found, by: \.name).mapValues(\.count)
    found.removeAll { tensor in
      let clashes = uses[tensor.name, default: 0] > 1
      let other = index.place(of: tensor.name)
      let isTaken = other.map { other in
        !tensor.sources.contains { $0.shard == other.shard && $0.index == other.index }
      }
      guard clashes || isTaken == true else { return false }
      refusals.append(
        (
          tensor.name,
          clashes ? "it is quantised in two ways" : "the model also has an unquantised tensor of this name"
        ))
      return true
    }
  }

  /// Refuses tensors with scales that no writer produces, unless reading all scales would take long.
  private mutating func checkScales() {
    guard ScaleCheck.isCheap(found, of: index.model) else { return }
    found.removeAll { tensor in
      do throws(Refusal) {
        try ScaleCheck.check(tensor, of: index.model)
        return false
      } catch {
        refusals.append((tensor.name, error.reason))
        return true
      }
    }
  }

  // MARK: - What belongs to them

  private mutating func hidden() -> [TensorName] {
    var consumed: Set<TensorName> = []
    for tensor in found {
      for source in tensor.sources { consumed.insert(index.model.name(at: source)) }
      done.insert(tensor.name)
      if let prefix = tensor.name.utf8.prefix(before: "weight") {
        done.insert(TensorName(utf8: prefix.dropLast()))
      }
    }
    guard !found.isEmpty else { return [] }
    return index.model.places.map(index.model.name).filter { name in
      consumed.contains(name) || SideTensors.isOne(name, of: done, config)
    }
  }

  // MARK: - Warnings

  private func warnings(_ foreign: [(scheme: String, name: TensorName)]) -> [String] {
    let path = index.model.shards.first?.file.path.printable ?? "the model"
    var lines = (config.contradiction.map { [$0] } ?? []).map {
      "\(path): \($0); neither is used, so only formats that need no configuration are dequantised"
    }
    let named = refusals.prefix(Self.namedTensors)
    lines += named.map {
      "\(path): tensor \($0.name) is not dequantised: \($0.reason); it is shown as it is stored"
    }
    if refusals.count > named.count {
      lines.append(
        "\(path): \(PrintableText.counted(refusals.count - named.count, "more tensor")) not dequantised")
    }
    // Supported modules may contain a tensor that looks like another format's.
    let foreign = foreign.filter { !done.contains($0.name) }
    for (scheme, tensors) in Dictionary(grouping: foreign, by: \.scheme).sorted(by: { $0.key < $1.key }) {
      guard let first = tensors.first else { continue }
      let others = tensors.count > 1 ? " and \(PrintableText.counted(tensors.count - 1, "more tensor"))" : ""
      lines.append(
        "\(path): tensor \(first.name)\(others) not dequantised: the format \(scheme) is not supported"
      )
    }
    let notes = found.compactMap { tensor in tensor.note.map { (tensor.name, $0) } }
    lines += notes.prefix(Self.namedTensors).map { "\(path): tensor \($0.0): \($0.1)" }
    if notes.count > Self.namedTensors {
      lines.append(
        "\(path): the same applies to \(PrintableText.counted(notes.count - Self.namedTensors, "more tensor"))"
      )
    }
    return lines
  }
}

extension ArraySlice<UInt8> {
  fileprivate func hasSuffix(_ text: String) -> Bool { suffix(text.utf8.count).elementsEqual(text.utf8) }

  /// The part of the name before its last component, with the dot; nil if the last component is another.
  fileprivate func prefix(before component: String) -> ArraySlice<UInt8>? {
    guard hasSuffix(component) else { return nil }
    let prefix = dropLast(component.utf8.count)
    return prefix.isEmpty || prefix.last == UInt8(ascii: ".") ? prefix : nil
  }

  /// The part of the name before an ending, plus `kept`, the ending's beginning. Nil if the name does not end
  /// so, or if nothing precedes the ending.
  fileprivate func prefix(before ending: String, keeping kept: String) -> ArraySlice<UInt8>? {
    guard hasSuffix(ending), count > ending.utf8.count else { return nil }
    return dropLast(ending.utf8.count - kept.utf8.count)
  }
}
