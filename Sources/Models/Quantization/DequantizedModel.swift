package import Safetensors

/// The computed tensors of a shard.
package struct ComputedTensors: Sendable {
  /// In the order of the shard's header.
  let tensors: [QuantizedTensor]
  /// The files that the tensors are computed from, without duplicates.
  package let files: [SourceFile]
  /// Shared by all reads of these tensors.
  package let cache: StripeCache
}

extension Model {
  /// The shards that are files: those with computed or assembled tensors are left out.
  package var storedShards: [Shard] { shards.filter(\.isStored) }

  /// The names of the formats of computed tensors; empty if there are none.
  package var quantizationFormats: [String] {
    var formats: Set<String> = []
    for case .computed(let computed) in shards.map(\.contents) {
      formats.formUnion(computed.tensors.map(\.format.rawValue))
    }
    return formats.sorted()
  }

  /// The names of the tensors that a quantised tensor is computed from.
  package func sourceNames(of tensor: QuantizedTensor) -> [TensorName] { tensor.sources.map(name) }

  /// The dequantised model: quantised weights as float32, all other tensors as stored, without scales and
  /// zero points. Nil if nothing is dequantised.
  package init?(dequantizing model: Model, _ quantization: Quantization) {
    guard let first = model.shards.first, !quantization.tensors.isEmpty,
      let header = Header(
        computed: quantization.tensors.map {
          Tensor(name: $0.name, dtype: .f32, shape: $0.shape[...], writtenTo: 0..<$0.byteCount)
        }, metadata: Self.commonMetadata(model.shards))
    else { return nil }
    var files: [SourceFile] = []
    for source in Set(quantization.tensors.flatMap { $0.sources.map(\.shard) }).sorted() {
      for file in model.shards[Int(source)].files where !files.contains(where: { $0 === file }) {
        files.append(file)
      }
    }
    let computed = ComputedTensors(tensors: quantization.tensors, files: files, cache: StripeCache())
    let shards = model.shards + [Shard(computed, described: header, beside: first)]
    let hidden = Set(quantization.hidden)
    let number = Int32(model.shards.count)
    var places = model.places.filter { !hidden.contains(model.name(at: $0)) }
    places += quantization.tensors.indices.map { Place(shard: number, index: Int32($0)) }
    places.sort { left, right in
      shards[Int(left.shard)].header.name(at: Int(left.index))
        < shards[Int(right.shard)].header.name(at: Int(right.index))
    }
    self.init(shards: shards, places: places, warnings: [], omitted: model.omitted)
  }

  /// The entries of `__metadata__` that all files share.
  static func commonMetadata(_ shards: [Shard]) -> [(key: [UInt8], value: [UInt8])] {
    guard let first = shards.first else { return [] }
    let others = shards.dropFirst().map { $0.header.metadata }
    return first.header.metadata.filter { entry in
      others.allSatisfy { $0.contains { $0.key == entry.key && $0.value == entry.value } }
    }.map { (Array($0.key), Array($0.value)) }
  }
}

extension ModelCollection {
  /// Dequantises the models of a collection. `collection` is nil if nothing was dequantised. With
  /// `keepingOthers`, it includes models without dequantised tensors. `warnings` says what was not
  /// dequantised, and why.
  package func dequantized(keepingOthers: Bool = false) -> (collection: ModelCollection?, warnings: [String])
  {
    var warnings: [String] = []
    var models: [Component] = []
    var isAny = false
    for component in components {
      let quantization = Quantization(of: component.model)
      warnings += quantization.warnings
      if let model = Model(dequantizing: component.model, quantization) {
        models.append(Component(name: component.name, model: model))
        isAny = true
      } else if keepingOthers {
        models.append(component)
      }
    }
    return (isAny ? ModelCollection(models) : nil, warnings)
  }
}

extension Header {
  /// The header of computed tensors, which are sorted by name. Nil if it would exceed the size limit of its
  /// table.
  init?(computed tensors: [Tensor], metadata: [(key: [UInt8], value: [UInt8])]) {
    var text: [UInt8] = []
    var dimensions: [UInt64] = []
    var records: [Record] = []
    var end: UInt64 = 0
    for tensor in tensors {
      let (next, overflow) = end.addingReportingOverflow(tensor.byteCount)
      guard !overflow, let nameStart = UInt32(exactly: text.count),
        let shapeStart = UInt32(exactly: dimensions.count)
      else { return nil }
      records.append(
        Record(
          nameStart: nameStart, nameCount: UInt32(tensor.name.utf8.count), shapeStart: shapeStart,
          shapeCount: UInt32(tensor.shape.count), keyOffset: 0, dtype: tensor.dtype, begin: end, end: next))
      text += tensor.name.utf8
      dimensions += tensor.shape
      end = next
    }
    var ranges: [(key: Range<Int>, value: Range<Int>)] = []
    for (key, value) in metadata {
      let start = text.count
      text += key
      let middle = text.count
      text += value
      ranges.append((start..<middle, middle..<text.count))
    }
    self.init(
      dataStart: 0, trailingBytes: 0, text: text, dimensions: dimensions, records: records,
      metadataRanges: ranges)
  }
}
