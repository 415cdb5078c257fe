/// A file of PyTorch before 0.1.10 in memory: a tar archive in which tensors and storages have numbers.
public struct TorchTar: Sendable {
  /// The object in the pickle. Tensors are persistent ids, which are their numbers.
  public var object = PickledValue.none
  /// The contents of `sys_info`.
  public var isLittleEndian = true
  /// Views of storages: number, number of the root storage, first element, count.
  public var views: [[Int]] = []
  private var storages: [(number: Int, type: String, data: [UInt8])] = []
  private var tensors: [(number: Int, storage: Int, shape: [Int], strides: [Int], offset: Int)] = []

  /// An empty file.
  public init() {}

  /// Adds a storage of these elements with a number.
  public mutating func addStorage(_ number: Int, _ type: String, _ data: [UInt8]) {
    storages.append((number, type, data))
  }

  /// Adds a tensor with a number, and returns the value that refers to it.
  public mutating func tensor(_ number: Int, of storage: Int, _ shape: [Int], strides: [Int], offset: Int = 0)
    -> PickledValue
  {
    tensors.append((number, storage, shape, strides, offset))
    return .persistent(.string(String(number)))
  }

  /// The files in the archive.
  public var files: [(name: String, contents: [UInt8])] {
    var storageFile = PickledValue.int(storages.count).pickle
    for storage in storages {
      let width = TorchFile.widths.first { $0.key == storage.type }?.value ?? 1
      storageFile +=
        PickledValue.tuple([
          .int(storage.number), .string("cpu"), .global("torch", "\(storage.type)Storage"),
        ]).pickle
      storageFile += Fixtures.bytes(Int64(storage.data.count / width)) + storage.data
    }
    storageFile += PickledValue.list(views.map { .tuple($0.map { .int($0) }) }).pickle
    var tensorFile = PickledValue.int(tensors.count).pickle
    for tensor in tensors {
      tensorFile +=
        PickledValue.tuple([
          .int(tensor.number), .int(tensor.storage), .global("torch", "FloatTensor"),
        ]).pickle
      tensorFile += Fixtures.bytes(Int64(tensor.shape.count))
      for number in tensor.shape + tensor.strides + [tensor.offset] {
        tensorFile += Fixtures.bytes(Int64(number))
      }
    }
    let system = PickledValue.dictionary([
      "protocol_version": .int(1000), "little_endian": .bool(isLittleEndian),
    ])
    return [
      ("sys_info", system.pickle), ("pickle", object.pickle), ("tensors", tensorFile),
      ("storages", storageFile),
    ]
  }

  /// The whole file.
  public var bytes: [UInt8] { Self.archive(files) }

  /// A tar archive of these files.
  public static func archive(_ files: [(name: String, contents: [UInt8])]) -> [UInt8] {
    var archive: [UInt8] = []
    for (name, contents) in files {
      var header = [UInt8](repeating: 0, count: 512)
      func put(_ text: String, at offset: Int) {
        header.replaceSubrange(offset..<offset + text.utf8.count, with: Array(text.utf8))
      }
      func octal(_ number: Int, _ digits: Int) -> String {
        let text = String(number, radix: 8)
        return String(repeating: "0", count: digits - text.count) + text
      }
      put(name, at: 0)
      put("0000644", at: 100)
      put(octal(contents.count, 11), at: 124)
      put(String(repeating: " ", count: 8), at: 148)
      put("0", at: 156)
      put("ustar\u{0}00", at: 257)
      put(octal(header.reduce(0) { $0 + Int($1) }, 6) + "\u{0} ", at: 148)
      archive += header + contents + [UInt8](repeating: 0, count: (512 - contents.count % 512) % 512)
    }
    return archive + [UInt8](repeating: 0, count: 1024)
  }
}
