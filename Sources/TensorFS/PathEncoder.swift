public import Safetensors

/// The path below the mount point that stands for a tensor's name, as encoded components.
public struct EncodedPath: Sendable, Equatable {
  /// The components, joined by `/`. Valid UTF-8; each of them has at most 255 bytes.
  public fileprivate(set) var bytes: [UInt8] = []
  /// Where each component ends in ``bytes``.
  fileprivate(set) var ends: [Int] = []

  /// The number of components; at least 1.
  var count: Int { ends.count }

  /// Component `index`, below ``count``.
  func component(_ index: Int) -> ArraySlice<UInt8> {
    bytes[(index == 0 ? 0 : ends[index - 1] + 1)..<ends[index]]
  }
}

/// Gives each tensor its path. For every ordinary name that is the name itself.
///
/// What a path cannot say is percent-encoded byte by byte, in upper case: control bytes, `%` itself, the
/// components `.` and `..`, and a `/` after a prefix that is a file of its own. An empty component is a bare `%`.
/// A component longer than NAME_MAX is cut and ends in `%~` and a hash of the name. docs/SEMANTICS.md has the
/// rules. The path depends on the set of names alone, and two names never share one.
///
/// Feed it every name of a model once, in ascending order of their bytes: a name's prefixes then come before it,
/// and the whole takes time linear in the names' length.
public struct PathEncoder {
  /// The directories of views in a model's root, which no tensor's path may begin with.
  public static let viewDirectories = [".npy", ".f32", ".safetensors"].map { Array($0.utf8) }
  /// The file that describes a model.
  public static let metadataFile = Array("metadata.json".utf8)

  /// NAME_MAX of Linux.
  private static let maximumComponent = 255
  private static let hashDigits = 16

  /// The names seen that begin the last one, shortest first.
  private var prefixes: [TensorName] = []

  /// An encoder that has seen no name.
  public init() {}

  /// Encodes the next name.
  public mutating func encode(_ name: TensorName) -> EncodedPath {
    while let last = prefixes.last, !name.utf8.starts(with: last.utf8) { prefixes.removeLast() }
    defer { prefixes.append(name) }

    var path = EncodedPath()
    if name.utf8.elementsEqual(Self.metadataFile) {
      path.append(Array("metadata%2Ejson".utf8))
      return path
    }
    var rest = name.utf8[...]
    for slash in separators(of: name) {
      path.append(component(rest[..<slash], isFirst: path.count == 0, of: name))
      rest = rest[(slash + 1)...]
    }
    path.append(component(rest, isFirst: path.count == 0, of: name))
    return path
  }

  /// One component as bytes, by itself; for names of directories that are no tensor's.
  static func encodeDirectory(_ name: [UInt8]) -> [UInt8] {
    var path = EncodedPath()
    path.append(PathEncoder().component(name[...], isFirst: true, of: TensorName(utf8: name[...])))
    return path.bytes
  }

  /// The positions of the `/` that separate components: all but those after a prefix that is itself a file.
  private func separators(of name: TensorName) -> [Int] {
    let start = name.utf8.startIndex
    var files = prefixes.map(\.utf8.count)
    if name.utf8.starts(with: Self.metadataFile) { files.append(Self.metadataFile.count) }
    let joined = Set(files.map { start + $0 })
    return name.utf8.indices.filter {
      name.utf8[$0] == UInt8(ascii: "/") && !joined.contains($0)
    }
  }

  private func component(_ raw: ArraySlice<UInt8>, isFirst: Bool, of name: TensorName) -> [UInt8] {
    if raw.isEmpty { return [UInt8(ascii: "%")] }
    if raw.elementsEqual(".".utf8) || raw.elementsEqual("..".utf8) {
      return raw.flatMap { Self.escape($0) }
    }
    var encoded: [UInt8] = []
    encoded.reserveCapacity(raw.count)
    if isFirst, Self.viewDirectories.contains(where: { $0.elementsEqual(raw) }) {
      return Self.escape(UInt8(ascii: ".")) + raw.dropFirst()
    }
    /// Where the last whole character ends that leaves room for the hash.
    var cut = 0
    let room = Self.maximumComponent - 2 - Self.hashDigits
    for byte in raw {
      // 10xxxxxx continues a character of UTF-8; every other byte begins one.
      if byte & 0xC0 != 0x80, encoded.count <= room { cut = encoded.count }
      switch byte {
      case 0..<0x20, 0x7F, UInt8(ascii: "%"), UInt8(ascii: "/"): encoded += Self.escape(byte)
      default: encoded.append(byte)
      }
      // The rest of a component of 100 MB is of no interest.
      if encoded.count > Self.maximumComponent {
        let digest = SHA256.digest(name.utf8).prefix(Self.hashDigits / 2)
        return encoded[..<cut] + Array("%~".utf8) + digest.flatMap { Self.hexDigits($0, Self.lowercase) }
      }
    }
    return encoded
  }

  private static func escape(_ byte: UInt8) -> [UInt8] {
    [UInt8(ascii: "%")] + hexDigits(byte, uppercase)
  }

  private static let uppercase = Array("0123456789ABCDEF".utf8)
  private static let lowercase = Array("0123456789abcdef".utf8)

  private static func hexDigits(_ byte: UInt8, _ digits: [UInt8]) -> [UInt8] {
    [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
  }
}

extension EncodedPath {
  fileprivate mutating func append(_ component: [UInt8]) {
    if !ends.isEmpty { bytes.append(UInt8(ascii: "/")) }
    bytes += component
    ends.append(bytes.count)
  }
}
