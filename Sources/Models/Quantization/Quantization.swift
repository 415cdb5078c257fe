package import Safetensors
internal import SystemPackage

/// Which tensors of a model are quantised in ways that are understood, and which others belong to them.
package struct Quantization: Sendable {
  /// The tensors that the codes stand for, in the order of their names.
  package let tensors: [QuantizedTensor]
  /// The tensors that the dequantised model omits because ``tensors`` replaces them: scales, zero points, packed codes. In the
  /// model's order.
  package let hidden: [TensorName]
  /// What a person should know, one line each; safe to print.
  package let warnings: [String]

  /// Recognises a model's quantisation, by the configuration files beside it and its tensors' names, types and shapes.
  ///
  /// Reads the sources' headers, and of the data such numbers as decide what is refused: indexes of groups, scales if they are
  /// few, the states of bitsandbytes. A module that cannot be computed without doubt stays as it is stored, and a
  /// warning says why.
  package init(of model: Model) {
    var recogniser: ModelRecogniser
    do {
      recogniser = ModelRecogniser(model, try Self.configuration(of: model))
    } catch let error as QuantizationConfig.Unsupported {
      self.init(unread: model, error.reason)
      return
    } catch {
      self.init(unread: model, (error as? ModelError)?.description ?? "its configuration cannot be read")
      return
    }
    self = recogniser.run()
  }

  /// As ``init(of:)``, with the text of a config.json and nothing else; for tests and fuzzing.
  package init(of model: Model, configuration: [UInt8]) {
    var recogniser: ModelRecogniser
    do {
      let value = try ConfigValue(reading: configuration)
      recogniser = ModelRecogniser(model, try QuantizationConfig(model: value) ?? .none)
    } catch {
      self.init(
        unread: model,
        (error as? QuantizationConfig.Unsupported)?.reason ?? "its configuration cannot be read")
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

  /// The configuration in the directory that all of the model's files are in.
  private static func configuration(of model: Model) throws -> QuantizationConfig {
    guard let directory = model.shards.first?.file.path.removingLastComponent(),
      model.shards.allSatisfy({ $0.file.path.removingLastComponent() == directory })
    else { return .none }
    return try QuantizationConfig.read(in: directory.isEmpty ? "." : directory)
  }
}

/// Goes through a model's tensors once, and gathers what is recognised.
private struct ModelRecogniser {
  private var index: TensorIndex
  private let config: QuantizationConfig
  private let schemes: CompressionSchemes

  private var found: [QuantizedTensor] = []
  private var refusals: [(name: TensorName, reason: String)] = []
  /// The prefixes of modules that are done, without a dot.
  private var done: Set<TensorName> = []

  /// How many refused or remarkable tensors are named one by one.
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

  /// Looks at one tensor: is it the one by which a module of some format is noticed?
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

  /// Parts that are nothing without one of some others.
  private static let owners: [(part: String, owners: [String])] = [
    ("qzeros", ["qweight"]), ("weight_shape", ["weight_packed"]), ("weight_scale_inv", ["weight"]),
    ("weight_global_scale", ["weight_packed"]), ("weight_scale_2", ["weight"]),
    ("quant_map", ["quant_state.bitsandbytes__nf4", "quant_state.bitsandbytes__fp4"]),
  ]

  /// Refuses a part whose codes are not there: the weight would be missing without a word.
  private func refuseOrphan(_ name: ArraySlice<UInt8>) throws(Refusal) {
    // Most tensors are a weight or a bias.
    if name.hasSuffix("weight") || name.hasSuffix("bias") { return }
    for (part, owners) in Self.owners {
      guard let prefix = name.prefix(before: part) else { continue }
      if owners.allSatisfy({ index.place(of: TensorName(utf8: prefix + $0.utf8)) == nil }) {
        throw Refusal("the \(owners[0]) that it belongs to is missing")
      }
    }
  }

  /// A tensor that keeps its name.
  private func weight(_ key: TensorPart, _ name: ArraySlice<UInt8>) throws(Refusal) -> QuantizedTensor? {
    let prefix = name.prefix(before: "weight")
    switch key.dtype {
    case .f8e4m3, .f8e5m2:
      // FP8 is also what some scales and zero points are.
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

  /// What the numbers of a tensor would be called.
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

  /// Refuses what would have the name of another tensor.
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
          clashes ? "it is quantised in two ways" : "there is an ordinary tensor of this name too"
        ))
      return true
    }
  }

  /// Refuses tensors with scales that no writer computes, unless reading them all would take long.
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
      "\(path): \($0); neither is used, so only what the tensors alone determine is dequantised"
    }
    let named = refusals.prefix(Self.namedTensors)
    lines += named.map {
      "\(path): tensor \($0.name) is not dequantised: \($0.reason); it is shown as it is stored"
    }
    if refusals.count > named.count {
      lines.append(
        "\(path): \(PrintableText.counted(refusals.count - named.count, "more tensor")) not dequantised")
    }
    // Some parts of another format stand beside a weight that is understood.
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
        "\(path): the same holds for \(PrintableText.counted(notes.count - Self.namedTensors, "more tensor"))"
      )
    }
    return lines
  }
}

extension ArraySlice<UInt8> {
  fileprivate func hasSuffix(_ text: String) -> Bool { suffix(text.utf8.count).elementsEqual(text.utf8) }

  /// What comes before a last component of this name, with the dot; nil if the last component is another.
  fileprivate func prefix(before component: String) -> ArraySlice<UInt8>? {
    guard hasSuffix(component) else { return nil }
    let prefix = dropLast(component.utf8.count)
    return prefix.isEmpty || prefix.last == UInt8(ascii: ".") ? prefix : nil
  }

  /// What comes before an ending, and the part of the ending that is kept; nil of another ending, or nothing before it.
  fileprivate func prefix(before ending: String, keeping kept: String) -> ArraySlice<UInt8>? {
    guard hasSuffix(ending), count > ending.utf8.count else { return nil }
    return dropLast(ending.utf8.count - kept.utf8.count)
  }
}
