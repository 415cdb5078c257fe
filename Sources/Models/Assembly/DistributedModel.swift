internal import Linux
internal import PyTorch
internal import Safetensors
internal import SystemPackage

extension Model {
  /// The model of a checkpoint of torch.distributed in its own files: `.metadata`, or one `__RANK.metadata` for each rank, and
  /// the files that it names.
  init(distributed path: FilePath, _ options: OpeningOptions, _ isChosen: (TensorName) -> Bool)
    throws(ModelError)
  {
    var metadata = DistributedMetadata()
    let names = try path.entries()
    let own = names.filter { $0.isNamed(".metadata") }
    let files = own.isEmpty ? names.filter { $0.hasSuffix(ignoringCase: ".metadata") } : own
    guard !files.isEmpty else {
      throw ModelError(
        .malformed, path,
        "this is a distributed checkpoint (DCP) of PyTorch without its .metadata, a hidden file: download that too"
      )
    }
    for file in files { try metadata.read(path.pushing(FilePath(bytes: file))) }

    let chosen = metadata.chunks.filter { isChosen($0.name) }
    var shards: [Shard] = []
    var slices: [Assembler.Slice] = []
    let boundary = try SourceBoundary(path)
    for (file, chunks) in Dictionary(grouping: chosen, by: \.file).sorted(by: {
      compareBytes($0.key[...], $1.key[...]) < 0
    }) {
      let chunks = chunks.sorted { $0.name < $1.name }
      try boundary.check(path.pushing(FilePath(bytes: file)))
      let shard = try DistributedFile(opening: path.pushing(FilePath(bytes: file)), chunks)
      for (index, chunk) in shard.chunks.enumerated() {
        let place = Place(shard: Int32(shards.count), index: Int32(index))
        slices.append(Assembler.Slice(name: chunk.name, place: place, start: chunk.start))
        if shard.header[index].dtype == .f4 { try metadata.unpackShape(of: chunk.name, path) }
      }
      shards.append(
        Shard(
          shard.file, header: shard.header, omitted: shard.omitted,
          unknownGlobals: shards.isEmpty ? metadata.unknownGlobals : []))
    }
    guard !shards.isEmpty else {
      throw ModelError(.malformed, path, "this distributed checkpoint (DCP) of PyTorch holds no tensor")
    }
    shards.makeNamesUnique()
    var assembler = Assembler(shards, path)
    try assembler.add(slices, shapes: metadata.shapes)
    self = try assembler.model()
  }
}

/// One file of a checkpoint: a sequence of torch.save files, each with one tensor.
private struct DistributedFile {
  let file: SourceFile
  /// The chunks that are shown, in the order of the header.
  private(set) var chunks: [DistributedMetadata.Chunk] = []
  private(set) var omitted: [OmittedTensor] = []
  let header: Header

  init(opening path: FilePath, _ all: [DistributedMetadata.Chunk]) throws(ModelError) {
    do throws(ModelError) {
      file = try SourceFile.opening(path)
    } catch {
      guard error.kind == .noSource else { throw error }
      throw ModelError(
        .malformed, path,
        "the file is missing, and the distributed checkpoint (DCP) has \(PrintableText.counted(all.count, "slice")) in it"
      )
    }
    var text: [UInt8] = []
    var dimensions: [UInt64] = []
    var records: [Header.Record] = []
    for var chunk in all {
      let tensor = try Self.tensor(chunk, file, path)
      guard tensor.shape.elementsEqual(chunk.shape) else {
        throw Self.problem(chunk, path, "has another shape than .metadata says")
      }
      guard let dtype = DType(tensor.type) else {
        omitted.append(
          OmittedTensor(
            name: chunk.name, reason: "is \(tensor.type.rawValue), which safetensors does not support"))
        continue
      }
      var numbers = Array(tensor.shape) + (tensor.isContiguous ? [] : Array(tensor.strides))
      if dtype == .f4 {
        guard let unpacked = Header.unpacked(tensor), chunk.unpack() else {
          omitted.append(
            OmittedTensor(name: chunk.name, reason: "holds pairs of elements that do not follow each other"))
          continue
        }
        numbers = unpacked
      }
      guard let nameStart = UInt32(exactly: text.count), let shapeStart = UInt32(exactly: dimensions.count)
      else {
        throw ModelError(.malformed, path, "its tensors' names and shapes are too long")
      }
      // Inside the file, since the archive was read from there.
      records.append(
        Header.Record(
          nameStart: nameStart, nameCount: UInt32(chunk.name.utf8.count), shapeStart: shapeStart,
          shapeCount: UInt32(tensor.shape.count), keyOffset: 0, dtype: dtype, isStrided: !tensor.isContiguous,
          begin: chunk.range.lowerBound + tensor.range.lowerBound,
          end: chunk.range.lowerBound + tensor.range.upperBound))
      text += chunk.name.utf8
      dimensions += numbers
      chunks.append(chunk)
    }
    header = Header(
      dataStart: 0, trailingBytes: 0, text: text, dimensions: dimensions, records: records, metadataRanges: []
    )
  }

  /// The tensor in a chunk, which is a torch.save file.
  private static func tensor(_ chunk: DistributedMetadata.Chunk, _ file: SourceFile, _ path: FilePath)
    throws(ModelError)
    -> StoredTensor
  {
    guard chunk.range.upperBound <= file.size else {
      throw problem(
        chunk, path,
        "should end at byte \(chunk.range.upperBound), the file at byte \(file.size); download it again")
    }
    let contents = try ModelError.translating("read", path) {
      try PyTorchFile(FilePart(file: file, range: chunk.range), form: .archive)
    }
    guard contents.tensors.count == 1, let tensor = contents.tensors.first else {
      throw problem(chunk, path, "is not one tensor")
    }
    return tensor
  }

  private static func problem(_ chunk: DistributedMetadata.Chunk, _ path: FilePath, _ clause: String)
    -> ModelError
  {
    ModelError(
      .malformed, path, "a slice of tensor \(chunk.name) of the distributed checkpoint (DCP) \(clause)")
  }
}

/// A part of an open file as a source of the PyTorch library.
private struct FilePart: ByteSource {
  let file: SourceFile
  let range: Range<UInt64>

  var size: UInt64 { range.upperBound - range.lowerBound }

  func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    try file.read(from: range.lowerBound + offset, count: count)
  }

  func announce(_ ranges: [Range<UInt64>]) {
    file.announce(ranges.map { range.lowerBound + $0.lowerBound..<range.lowerBound + $0.upperBound })
  }
}
