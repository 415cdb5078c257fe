import Glibc
import Models
import Safetensors
import TensorFiles

/// The exact output, decided before anything is written.
struct PackPlan {
  /// One file.
  struct File {
    /// Its name, beside the others.
    let name: [UInt8]
    /// What is in it.
    let model: ModelFile<PackedTensor>
  }

  /// The layout of a file's tensors.
  struct Arrangement {
    /// The data begins at a multiple of this, in bytes.
    var alignment = HeaderWriter.alignment
    /// Tensors whose size is a multiple of this come first, so each of them begins at a multiple. All others, or all tensors if
    /// this is nil, are in the reference writer's order.
    var unit: UInt64?
  }

  /// The files: one, or the shards.
  let files: [File]
  /// The index; nil if there is one file.
  let index: (name: [UInt8], bytes: [UInt8])?

  /// All tensors, in the order of their names.
  let tensors: [Tensor]

  /// The size of all files, in bytes.
  var byteCount: UInt64 { (files.map(\.model.byteCount) + [UInt64(index?.bytes.count ?? 0)]).clampedSum }
  /// The size of the tensors that are not part of another file, in bytes.
  var computedByteCount: UInt64 {
    files.flatMap(\.model.tensors).filter(\.contents.isComputed).map(\.tensor.byteCount).clampedSum
  }

  /// Of the names in the directory of the output `fileName`, those of another set of its shards, and an index that is not replaced.
  func otherShards(of fileName: [UInt8], among names: [[UInt8]]) -> [[UInt8]] {
    let suffix = ".safetensors"
    guard fileName.suffix(suffix.utf8.count).elementsEqual(suffix.utf8) else { return [] }
    let prefix = fileName.dropLast(suffix.utf8.count) + "-".utf8
    let written = Set(files.map(\.name) + (index.map { [$0.name] } ?? []))
    return names.filter { name in
      if written.contains(name) { return false }
      guard let split = ShardName(name)?.split else { return name == fileName + ".index.json".utf8 }
      return split.prefix.utf8.elementsEqual(prefix) && split.suffix == suffix
    }
  }

  /// How many tensors begin at a multiple of `unit` bytes in their file.
  func alignedCount(_ unit: UInt64) -> Int {
    files.reduce(0) { count, file in
      let start = file.model.header.reduce(0) { $0 + UInt64($1.count) }
      return count + file.model.tensors.count { (start + $0.tensor.dataRange.lowerBound) % unit == 0 }
    }
  }

  /// Lays out tensors that were selected and have their final names.
  ///
  /// - Parameters:
  ///   - fileName: the name of the single file; the names of shards and of the index are derived from it.
  ///   - shardSize: how many bytes of tensors a shard may have; nil for one file, whatever its size.
  init(
    _ tensors: [PackedTensor], metadata: MergedMetadata.Entries, fileName: [UInt8], shardSize: UInt64?,
    arrangement: Arrangement
  ) throws(Failure) {
    let tensors = tensors.sorted { $0.tensor.name < $1.tensor.name }
    try Self.refuseClashes(tensors)
    let totalSize = try Self.totalSize(tensors)
    self.tensors = tensors.map(\.tensor)

    let limit = shardSize ?? .max
    let shards = ShardSplit.shards(of: tensors.map(\.tensor.byteCount), limit: limit)
    let writer = HeaderWriter(metadata: metadata)
    let suffix = Array(".safetensors".utf8)
    guard shards.count > 1 else {
      files = [try Self.file(fileName, tensors, writer, arrangement)]
      index = nil
      return
    }
    guard fileName.suffix(suffix.count).elementsEqual(suffix),
      String(validating: fileName, as: UTF8.self) != nil
    else {
      throw .usage(
        "shards are named after the output, whose name must end in .safetensors", command: "stpack")
    }
    let stem = fileName.dropLast(suffix.count)
    var files: [File] = []
    var weightMap: [(tensor: TensorName, file: [UInt8])] = []
    for (position, shard) in shards.enumerated() {
      let name =
        stem + "-\(ShardName.padded(position + 1))-of-\(ShardName.padded(shards.count))".utf8 + suffix
      files.append(try Self.file(Array(name), shard.map { tensors[$0] }, writer, arrangement))
      weightMap += shard.map { (tensors[$0].tensor.name, Array(name)) }
    }
    self.files = files
    index = (
      fileName + ".index.json".utf8,
      IndexWriter.bytes(totalSize: totalSize, metadata: metadata, weightMap: weightMap)
    )
  }

  private static func refuseClashes(_ tensors: [PackedTensor]) throws(Failure) {
    for (left, right) in zip(tensors, tensors.dropFirst()) where left.tensor.name == right.tensor.name {
      let name = left.tensor.name
      guard left.path != right.path || left.originalName != right.originalName else {
        throw Failure(status: EX_DATAERR, "\(left.path.printable): this input is given twice; name it once")
      }
      guard left.originalName == right.originalName else {
        throw Failure(
          status: EX_DATAERR,
          "tensors \(left.originalName) and \(right.originalName) would both be named \(name)")
      }
      throw Failure(
        status: EX_DATAERR,
        "tensor \(name) is in \(left.path.printable) and in \(right.path.printable); choose one with --replace"
      )
    }
  }

  private static func totalSize(_ tensors: [PackedTensor]) throws(Failure) -> UInt64 {
    let total = tensors.lazy.map(\.tensor.byteCount).clampedSum
    guard total < .max else { throw tooLarge }
    return total
  }

  private static var tooLarge: Failure {
    Failure(status: EX_DATAERR, "the tensors are larger than a file can be")
  }

  private static func file(
    _ name: [UInt8], _ tensors: [PackedTensor], _ writer: HeaderWriter, _ arrangement: Arrangement
  ) throws(Failure) -> File {
    do throws(ModelFile<PackedTensor>.Problem) {
      return File(
        name: name,
        model: try ModelFile(
          tensors.map { ($0.tensor, $0) }, writer, alignment: arrangement.alignment,
          first: arrangement.isFirst))
    } catch {
      switch error {
      case .headerTooLong(let length):
        throw Failure(
          status: EX_DATAERR,
          "the header would have \(length) bytes, and readers take \(HeaderPrefix.maximumLength); pack fewer tensors, or "
            + "into shards")
      case .tooLarge: throw tooLarge
      case .reservedName:
        throw Failure(
          status: EX_DATAERR,
          "a tensor cannot be called '__metadata__' in a safetensors file; --rename it")
      }
    }
  }
}

extension PackPlan.Arrangement {
  /// True for tensors that come before all others.
  fileprivate func isFirst(_ tensor: Tensor) -> Bool { unit.map { tensor.byteCount % $0 == 0 } ?? false }
}
