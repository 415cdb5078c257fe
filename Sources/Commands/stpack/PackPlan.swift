import Glibc
import Linux
import Models
import Safetensors
import TensorFiles

/// What is to be written, to the last byte, before anything is.
struct PackPlan {
  /// One file.
  struct File {
    /// Its name, beside the others.
    let name: [UInt8]
    /// The header, in pieces.
    let header: [[UInt8]]
    /// Its tensors, in the order of their bytes.
    let tensors: [PackedTensor]

    /// How many bytes the file has.
    var byteCount: UInt64 {
      header.reduce(0) { $0 + UInt64($1.count) } + (tensors.last?.tensor.dataRange.upperBound ?? 0)
    }
  }

  /// The files: one, or the shards.
  let files: [File]
  /// Of shards, their index.
  let index: (name: [UInt8], bytes: [UInt8])?

  /// All tensors, in the order of their names.
  let tensors: [Tensor]

  /// The size of all files but the index, in bytes.
  var byteCount: UInt64 { files.map(\.byteCount).clampedSum }
  /// The size of the tensors that are no part of another file, in bytes.
  var computedByteCount: UInt64 {
    files.flatMap(\.tensors).filter { $0.source.gather != nil }.map(\.tensor.byteCount).clampedSum
  }

  /// Lays out tensors that were selected and have their final names.
  ///
  /// - Parameters:
  ///   - fileName: the name of the single file; a shard's and the index's are made of it.
  ///   - shardSize: how many bytes of tensors a shard may have; nil for one file, whatever its size.
  ///   - alignment: what each file's data begins at a multiple of.
  init(
    _ tensors: [PackedTensor], metadata: PackInput.Metadata, fileName: [UInt8], shardSize: UInt64?,
    alignment: UInt64
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
      files = [try Self.file(fileName, tensors, writer, alignment)]
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
      let name = stem + "-\(Self.padded(position + 1))-of-\(Self.padded(shards.count))".utf8 + suffix
      files.append(try Self.file(Array(name), shard.map { tensors[$0] }, writer, alignment))
      weightMap += shard.map { (tensors[$0].tensor.name, Array(name)) }
    }
    self.files = files
    index = (
      fileName + ".index.json".utf8,
      IndexWriter.bytes(totalSize: totalSize, metadata: metadata, weightMap: weightMap)
    )
  }

  /// Five digits at least, as shards are numbered.
  private static func padded(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
  }

  private static func refuseClashes(_ tensors: [PackedTensor]) throws(Failure) {
    for tensor in tensors where tensor.tensor.name == TensorName("__metadata__") {
      throw Failure(
        status: EX_DATAERR,
        "\(tensor.source.path.printable): a tensor cannot be called '__metadata__' in a safetensors file; --rename it"
      )
    }
    for (left, right) in zip(tensors, tensors.dropFirst()) where left.tensor.name == right.tensor.name {
      let name = left.tensor.name
      guard left.originalName == right.originalName else {
        throw Failure(
          status: EX_DATAERR,
          "tensors \(left.originalName) and \(right.originalName) would both be called \(name)")
      }
      throw Failure(
        status: EX_DATAERR,
        "tensor \(name) is in \(left.source.path.printable) and in \(right.source.path.printable)")
    }
  }

  private static func totalSize(_ tensors: [PackedTensor]) throws(Failure) -> UInt64 {
    var total: UInt64 = 0
    for tensor in tensors {
      let (sum, overflowed) = total.addingReportingOverflow(tensor.tensor.byteCount)
      // With its header, and what a header may have, a file must stay below the system's limit.
      guard !overflowed, sum <= UInt64(Int64.max) - 2 * HeaderPrefix.maximumLength else {
        throw Failure(status: EX_DATAERR, "the tensors are larger than a file can be")
      }
      total = sum
    }
    return total
  }

  /// Orders a file's tensors as the reference does, one behind the other.
  private static func file(
    _ name: [UInt8], _ tensors: [PackedTensor], _ writer: HeaderWriter, _ alignment: UInt64
  ) throws(Failure) -> File {
    var ordered = tensors.sorted { $0.tensor.isWritten(before: $1.tensor) }
    var end: UInt64 = 0
    for position in ordered.indices {
      // Cannot overflow: the sum of all was checked.
      let next = end + ordered[position].tensor.byteCount
      ordered[position].set(dataRange: end..<next)
      end = next
    }
    let header = writer.pieces(ordered.map(\.tensor), alignment: alignment)
    let length = header.dropFirst().reduce(0) { $0 + UInt64($1.count) }
    guard length <= HeaderPrefix.maximumLength else {
      throw Failure(
        status: EX_DATAERR,
        "the header would have \(length) bytes, and readers take \(HeaderPrefix.maximumLength); pack fewer tensors, or "
          + "into shards")
    }
    return File(name: name, header: header, tensors: ordered)
  }
}
