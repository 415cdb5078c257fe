package import Models
package import Safetensors

/// A safetensors file to be written: its header, and the tensors in the order of the reference writer.
package struct ModelFile<Contents> {
  /// Why tensors cannot be in one file.
  package enum Problem: Error {
    /// A tensor has the name of the header's own entry.
    case reservedName
    /// The header would be longer than readers accept, in bytes.
    case headerTooLong(UInt64)
    /// The tensors are larger than a file can be.
    case tooLarge
  }

  /// The header, in pieces.
  package let header: [[UInt8]]
  /// The tensors with their ranges in the data, and their contents.
  package let tensors: [(tensor: Tensor, contents: Contents)]

  /// The size of the file in bytes.
  package var byteCount: UInt64 {
    header.reduce(tensors.last?.tensor.dataRange.upperBound ?? 0) { $0 + UInt64($1.count) }
  }

  /// Lays out tensors with unique names: wider types first, then by name, without gaps. Tensors for which `isFirst` holds
  /// come before all others.
  ///
  /// The data begins at a multiple of `alignment`; see ``HeaderWriter/pieces(_:alignment:)``.
  package init(
    _ tensors: [(tensor: Tensor, contents: Contents)], _ writer: HeaderWriter,
    alignment: UInt64 = HeaderWriter.alignment, first isFirst: (Tensor) -> Bool = { _ in false }
  ) throws(Problem) {
    var ordered = tensors.sorted { left, right in
      let (isLeftFirst, isRightFirst) = (isFirst(left.tensor), isFirst(right.tensor))
      return isLeftFirst == isRightFirst ? left.tensor.isWritten(before: right.tensor) : isLeftFirst
    }
    var end: UInt64 = 0
    for position in ordered.indices {
      let tensor = ordered[position].tensor
      guard tensor.name != TensorName("__metadata__") else { throw .reservedName }
      let (next, overflow) = end.addingReportingOverflow(tensor.byteCount)
      // With its header a file must stay below the system's limit.
      guard !overflow, next <= UInt64(Int64.max) - 2 * HeaderPrefix.maximumLength else { throw .tooLarge }
      ordered[position].tensor = Tensor(
        name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, writtenTo: end..<next)
      end = next
    }
    header = writer.pieces(ordered.lazy.map(\.tensor), alignment: alignment)
    self.tensors = ordered
    let length = header.dropFirst().reduce(0) { $0 + UInt64($1.count) }
    guard length <= HeaderPrefix.maximumLength else { throw .headerTooLong(length) }
  }
}

extension ModelFile where Contents == FileLayout {
  /// The whole file.
  package var layout: FileLayout? {
    FileLayout(header.map { .memory($0[...]) } + tensors.lazy.flatMap { $0.contents.segments })
  }
}

extension Model {
  /// The `__metadata__` of the files, as far as they do not contradict each other.
  package var mergedMetadata: MergedMetadata {
    MergedMetadata(agreeing: storedShards.map { ($0.file.path, $0.header.metadata) })
  }
}

extension FileLayout {
  /// A whole model as one safetensors file, byte-identical to the output of stpack(1). Entries of `__metadata__` to which the sources
  /// give different values are left out. Nil if readers would not accept the file.
  ///
  /// Takes time and memory proportional to the number of tensors and the length of their names.
  package init?(wholeModel model: Model) {
    var tensors: [(tensor: Tensor, contents: FileLayout)] = []
    tensors.reserveCapacity(model.places.count)
    for place in model.places {
      let tensor = model.tensor(at: place)
      guard let contents = FileLayout(of: tensor, in: model.shard(at: place)) else { return nil }
      tensors.append((tensor, contents))
    }
    let writer = HeaderWriter(metadata: model.mergedMetadata.entries)
    guard let layout = (try? ModelFile(tensors, writer))?.layout else { return nil }
    self = layout
  }
}
