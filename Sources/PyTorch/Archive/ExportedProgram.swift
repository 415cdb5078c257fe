/// A tensor of a torch.export program, as described by the JSON in the archive.
package struct ExportedTensor: Sendable {
  package var name: [UInt8]
  /// The archive entry of its storage, relative to the directory of the weights or constants.
  package var path: [UInt8]
  /// The element type's number in torch._export.serde.schema.ScalarType.
  package var type: UInt64
  package var shape: [UInt64]
  package var strides: [UInt64]
  /// The index of the tensor's first element in its storage.
  package var offset: UInt64
  /// True if the entry is a pickle and not a raw storage.
  package var isPickled: Bool

  package init(
    name: [UInt8], path: [UInt8], type: UInt64, shape: [UInt64], strides: [UInt64], offset: UInt64,
    isPickled: Bool
  ) {
    (self.name, self.path, self.type, self.shape) = (name, path, type, shape)
    (self.strides, self.offset, self.isPickled) = (strides, offset, isPickled)
  }
}

/// Reads the JSON that describes an exported program's tensors; nil if it is not such JSON. The caller
/// provides the reader, since this library has no JSON parser.
package typealias ExportReader = ([UInt8]) -> [ExportedTensor]?

extension ElementType {
  /// Element types by their numbers in torch.export.
  private static let exported: [UInt64: ElementType] = [
    1: .uint8, 2: .int8, 3: .int16, 4: .int32, 5: .int64, 6: .float16, 7: .float32, 8: .float64,
    9: .complex32,
    10: .complex64, 11: .complex128, 12: .bool, 13: .bfloat16, 28: .uint16, 29: .float8_e4m3fn,
    30: .float8_e5m2,
    31: .float8_e4m3fnuz, 32: .float8_e5m2fnuz, 33: .float8_e8m0fnu, 34: .uint32, 35: .uint64,
  ]

  fileprivate init?(exported number: UInt64) {
    guard let type = Self.exported[number] else { return nil }
    self = type
  }
}

extension TensorTable {
  /// Reads the weights and constants of torch.export programs: raw storages, and JSON that describes them. If
  /// the archive has several programs, each name starts with its program's name. `torch.export.save` writes
  /// one program, called "model".
  init(exported archive: TorchArchive<some ByteSource>, reader: ExportReader) throws(FormatError) {
    self.init()
    let parts = [("data/weights/", "_weights_config.json"), ("data/constants/", "_constants_config.json")]
    let documents = parts.flatMap { directory, suffix in
      archive.entries(in: directory, suffix).map { (directory, entry: $0.entry, program: $0.stem) }
    }
    // Before PyTorch 2.9, a program's weights were one pickle. Packages with compiled code have no such JSON.
    guard !documents.isEmpty, archive.entries(in: "data/weights/", ".pt").isEmpty else {
      throw FormatError(at: nil, .foreign(.exported))
    }
    let hasSeveral = documents.contains { $0.program != documents[0].program }
    for (directory, entry, program) in documents {
      // The program's name becomes part of every tensor name. It is an archive path: it can be long, or not
      // UTF-8.
      let isName = program.count < 256 && (try? UTF8Span(validating: program.span)) != nil
      guard isName, let tensors = reader(try archive.contents(of: entry)) else {
        throw FormatError(
          at: entry.dataOffset, .malformed(.entry(entry.name), "is not a valid list of tensors"))
      }
      // Each tensor has a description, so tensors and names are proportional to the JSON.
      for var tensor in tensors {
        if hasSeveral { tensor.name = program + [UInt8(ascii: ".")] + tensor.name }
        try add(tensor, in: archive, directory)
      }
    }
  }

  private mutating func add(
    _ tensor: ExportedTensor, in archive: TorchArchive<some ByteSource>, _ directory: String
  ) throws(FormatError) {
    func error(_ text: String) -> FormatError { FormatError(at: nil, .malformed(.tensor(tensor.name), text)) }
    guard !tensor.isPickled, let type = ElementType(exported: tensor.type) else {
      omit(tensor.name, ElementType(exported: tensor.type), .kind(.custom))
      return
    }
    guard let entry = try archive.entry(Array(directory.utf8) + tensor.path), !entry.isDirectory else {
      throw error("refers to a missing storage")
    }
    try archive.checkStored(entry)
    guard tensor.shape.count == tensor.strides.count, tensor.shape.count <= TensorReader.maximumRank,
      let layout = Layout(tensor.shape, tensor.strides, start: dimensions.count),
      let range = TensorReader.range(tensor.offset, layout, type.byteCount, in: entry.dataRange)
    else { throw error("exceeds its storage, or the maximum size of a file") }
    dimensions += tensor.shape
    dimensions += tensor.strides
    layouts.append(layout)
    descriptions.append(
      Description(
        type: type, layout: UInt32(layouts.count - 1), begin: range.lowerBound, end: range.upperBound))
    add(tensor.name, UInt32(descriptions.count - 1))
  }
}
