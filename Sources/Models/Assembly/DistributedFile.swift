internal import PyTorch
internal import Safetensors
internal import SystemPackage

/// One file of a distributed checkpoint: a sequence of torch.save files, each with a tensor or an object.
struct DistributedFile {
  /// A tensor of the file: a slice, or a tensor in an object.
  struct Entry {
    /// The name of the item.
    let item: TensorName
    /// The start of a slice in the whole tensor; nil if the tensor is not a slice.
    let start: [UInt64]?
  }

  let file: SourceFile
  /// The tensors, in the order of ``contents``.
  private(set) var entries: [Entry] = []
  private var contents: PyTorchHeader
  let omitted: [OmittedTensor]
  let unknownGlobals: [[UInt8]]
  /// Warnings about names; safe to print.
  var notes: [String] { contents.notes }

  init(
    opening path: FilePath, _ items: [DistributedMetadata.Item], _ isChosen: (TensorName) -> Bool
  ) throws(ModelError) {
    do throws(ModelError) {
      file = try SourceFile.opening(path)
    } catch {
      guard error.kind == .noSource else { throw error }
      throw ModelError(
        .malformed, path,
        "missing file of the distributed checkpoint (DCP), with \(PrintableText.counted(items.count, "item")); download it"
      )
    }
    // Items that overlap would make this reader read more bytes than the file has.
    let ordered = items.sorted { $0.range.lowerBound < $1.range.lowerBound }
    for (item, next) in zip(ordered, ordered.dropFirst()) where item.range.overlaps(next.range) {
      throw Self.problem(
        next, path,
        "overlaps the item before it (byte \(next.range.lowerBound)); download the checkpoint again")
    }
    contents = PyTorchHeader(path)
    var omitted: [OmittedTensor] = []
    var unknown: [[UInt8]] = []
    var known: Set<[UInt8]> = []
    for item in items where item.original == nil {
      if let slice = item.slice {
        let saved = try Self.contents(of: item, .archive, file, path)
        unknown += saved.unknownGlobals.filter { known.insert($0).inserted }
        // The item holds a tensor subclass, or elements of an unsupported kind.
        if let reason = OmittedTensor.all(of: saved).first?.reason {
          omitted.append(OmittedTensor(name: item.name, reason: reason))
          continue
        }
        let tensor = try Self.tensor(in: saved, item, slice, path)
        var whole = slice
        // PyTorch counts pairs of F4 elements; safetensors counts elements.
        if DType(tensor.type) == .f4, !whole.unpack() {
          omitted.append(
            OmittedTensor(name: item.name, reason: "has F4 elements in an unsupported shape"))
        } else if try contents.add(tensor, named: item.name.utf8, at: item.range.lowerBound) {
          entries.append(Entry(item: item.name, start: whole.start))
        }
        continue
      }
      guard let object = try Self.object(item, file, path) else {
        omitted.append(OmittedTensor(name: item.name, reason: "is an object that torch.save did not write"))
        continue
      }
      unknown += object.unknownGlobals.filter { known.insert($0).inserted }
      try contents.add(object, at: item.range.lowerBound)
      entries += Array(repeating: Entry(item: item.name, start: nil), count: contents.count - entries.count)
    }
    self.omitted = (omitted + contents.omitted).filter { isChosen($0.name) }
    unknownGlobals = unknown
  }

  /// The name of a tensor, by its position in ``entries``.
  func name(at position: Int) -> TensorName { TensorName(utf8: contents.name(at: position)) }

  /// Gives a tensor another name.
  mutating func rename(at position: Int, to name: TensorName) throws(ModelError) {
    try contents.rename(at: position, to: name.utf8)
  }

  /// The header of the tensors, sorted by name, and the position of each in ``entries``.
  func header() -> (header: Header, positions: [Int]) {
    var sorted = contents
    let positions = sorted.sort()
    return (sorted.header(), positions)
  }

  // MARK: - Copies

  /// The maximum size of an object that is compared with its copy, in bytes.
  private static let comparedSize = 16 << 20

  /// True if two objects have the same bytes. Objects above the size limit count as different.
  static func areSame(
    _ item: DistributedMetadata.Item, _ file: SourceFile, _ other: DistributedMetadata.Item,
    _ otherFile: SourceFile
  ) throws(ModelError) -> Bool {
    try check(item, file, file.path)
    let count = item.range.count
    guard other.range.count == count, count <= comparedSize else { return false }
    return try ModelError.translating("read", file.path) {
      try file.read(from: item.range.lowerBound, count: count)
        == otherFile.read(from: other.range.lowerBound, count: count)
    }
  }

  /// The omissions for another rank's copy of an object: one for each tensor in it.
  static func omissions(ofCopy item: DistributedMetadata.Item, _ file: SourceFile) throws(ModelError)
    -> [OmittedTensor]
  {
    let tensors = try object(item, file, file.path)?.tensors.map(\.name) ?? [item.name.utf8]
    return tensors.map {
      OmittedTensor(
        name: TensorName(utf8: $0), reason: "is in another rank's copy of an object, and the copies differ")
    }
  }

  // MARK: - Items

  /// The only tensor in the contents of an item, which must have the shape of the slice.
  private static func tensor(
    in contents: PyTorchFile, _ item: DistributedMetadata.Item, _ slice: DistributedMetadata.Slice,
    _ path: FilePath
  ) throws(ModelError) -> StoredTensor {
    guard contents.tensors.count == 1, let tensor = contents.tensors.first else {
      throw problem(item, path, "has contents that are not one tensor; download the file again")
    }
    guard tensor.shape.elementsEqual(slice.shape) else {
      throw problem(item, path, "has a shape that differs from .metadata; download both files again")
    }
    return tensor
  }

  /// The tensors in an object, with names below the object's; nil if the object is not a torch.save file.
  private static func object(_ item: DistributedMetadata.Item, _ file: SourceFile, _ path: FilePath)
    throws(ModelError) -> PyTorchFile?
  {
    try check(item, file, path)
    let count = min(Int(clamping: item.range.count), ForeignFormat.prefixSize)
    let start = try ModelError.translating("read", path) {
      try file.read(from: item.range.lowerBound, count: count)
    }
    guard let form = PyTorchFile.form(of: start) else { return nil }
    return try contents(of: item, form, file, path)
  }

  private static func contents(
    of item: DistributedMetadata.Item, _ form: PyTorchFile.Form, _ file: SourceFile, _ path: FilePath
  ) throws(ModelError) -> PyTorchFile {
    try check(item, file, path)
    let part = FilePart(item.range, of: file)
    return try ModelError.translating("read", path) {
      do throws(FormatError) {
        let name = item.slice == nil ? Array(item.name.utf8) : []
        let contents = try PyTorchFile(part, form: form, below: name)
        guard contents.trailingBytes == 0 else {
          throw FormatError(trailing: contents.trailingBytes, fileSize: part.size)
        }
        return contents
      } catch {
        throw error.moved(by: item.range.lowerBound)
      }
    }
  }

  private static func check(_ item: DistributedMetadata.Item, _ file: SourceFile, _ path: FilePath)
    throws(ModelError)
  {
    guard item.range.upperBound <= file.size else {
      throw problem(
        item, path,
        "should end at byte \(item.range.upperBound), but the file ends at byte \(file.size); download it again"
      )
    }
  }

  private static func problem(_ item: DistributedMetadata.Item, _ path: FilePath, _ clause: String)
    -> ModelError
  {
    let subject = item.slice == nil ? "object" : "a slice of tensor"
    return ModelError(
      .malformed, path, "\(subject) \(item.name) of the distributed checkpoint (DCP) \(clause)")
  }
}
