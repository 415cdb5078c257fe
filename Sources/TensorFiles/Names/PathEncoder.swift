internal import Models
package import Safetensors

/// The path below the mount point that stands for a tensor's name.
package struct EncodedPath: Sendable, Equatable {
  /// The encoded components, joined by `/`. Valid UTF-8; each of them has 1 to 255 bytes.
  package fileprivate(set) var bytes: [UInt8] = []
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
package struct PathEncoder {
  /// What is in a model's root beside its tensors and is not listed. No tensor's path may begin with it.
  package static let hiddenNames =
    View.inDirectories.map(\.directory) + [ViewedTree.modelFile, ViewedTree.dequantizedDirectory]
  /// The file that describes a model.
  package static let metadataFile = Array("metadata.json".utf8)

  /// The files seen that begin the last name, shortest first.
  private var prefixes: [ArraySlice<UInt8>] = []

  /// An encoder that has seen no name.
  package init() {}

  /// Encodes the next name.
  package mutating func encode(_ name: TensorName) -> EncodedPath {
    let raw = name.utf8
    while let last = prefixes.last, !raw.begins(with: last) { prefixes.removeLast() }
    let metadataFile = Self.metadataFile[...]
    if raw.begins(with: metadataFile), (prefixes.last?.count ?? 0) < metadataFile.count {
      prefixes.append(metadataFile)
    }
    defer { prefixes.append(raw) }

    var writer = PathWriter(name: raw)
    if raw == metadataFile {
      writer.append(escaped: Array("metadata%2Ejson".utf8))
      return writer.path
    }
    /// The first of the prefixes that may end at the slash at hand.
    var file = 0
    var start = raw.startIndex
    for slash in raw.indices where raw[slash] == UInt8(ascii: "/") {
      let length = slash - raw.startIndex
      while file < prefixes.count, prefixes[file].count < length { file += 1 }
      // What is a file cannot be a directory too.
      if file < prefixes.count, prefixes[file].count == length { continue }
      writer.append(raw[start..<slash])
      start = slash + 1
    }
    writer.append(raw[start...])
    return writer.path
  }

  /// One component as bytes, by itself; for names of directories that are no tensor's.
  static func encodeDirectory(_ name: [UInt8]) -> [UInt8] {
    var writer = PathWriter(name: name[...])
    writer.append(name[...])
    return writer.path.bytes
  }
}

/// Puts a path together from the components of a name.
private struct PathWriter {
  private(set) var path = EncodedPath()
  private let name: ArraySlice<UInt8>
  /// The hash of the name; one name can need it a million times.
  private lazy var hash = CutName.hash(of: name)

  init(name: ArraySlice<UInt8>) {
    self.name = name
    path.bytes.reserveCapacity(name.count)
  }

  /// Appends a component that needs no more encoding.
  mutating func append(escaped component: some Collection<UInt8>) {
    if !path.bytes.isEmpty { path.bytes.append(UInt8(ascii: "/")) }
    path.bytes += component
  }

  /// Encodes and appends a component.
  mutating func append(_ raw: ArraySlice<UInt8>) {
    if raw.isEmpty {
      append(escaped: CollectionOfOne(UInt8(ascii: "%")))
    } else if raw.first == dot, isReserved(raw) {
      let dots = raw.prefix { $0 == dot }
      append(escaped: dots.flatMap(escape) + raw[dots.endIndex...])
    } else if raw.count <= CutName.maximumCount, raw.allSatisfy({ !mustEscape($0) }) {
      append(escaped: raw)
    } else {
      append(escaped: encoded(raw))
    }
  }

  /// True for `.`, `..` and, at the beginning of a path, for hidden names.
  private func isReserved(_ raw: ArraySlice<UInt8>) -> Bool {
    if raw.count <= 2, raw.allSatisfy({ $0 == dot }) { return true }
    return path.bytes.isEmpty && PathEncoder.hiddenNames.contains { $0[...] == raw }
  }

  private mutating func encoded(_ raw: ArraySlice<UInt8>) -> [UInt8] {
    var encoded: [UInt8] = []
    for byte in raw {
      if mustEscape(byte) { encoded += escape(byte) } else { encoded.append(byte) }
      // The rest of a component of 100 MB is of no interest.
      if encoded.count > CutName.maximumCount { return Array(CutName.cut(encoded[...], hash: hash)) }
    }
    return encoded
  }
}

private let dot = UInt8(ascii: ".")

/// True for the bytes that are never in a path as themselves.
private func mustEscape(_ byte: UInt8) -> Bool {
  byte < 0x20 || byte == 0x7F || byte == UInt8(ascii: "%") || byte == UInt8(ascii: "/")
}

private func escape(_ byte: UInt8) -> [UInt8] { [UInt8(ascii: "%")] + hexDigits(byte, uppercase) }

private let uppercase = Array("0123456789ABCDEF".utf8)

private func hexDigits(_ byte: UInt8, _ digits: [UInt8]) -> [UInt8] {
  [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
}

extension ArraySlice<UInt8> {
  /// True if `other` is the beginning of these bytes.
  fileprivate func begins(with other: ArraySlice<UInt8>) -> Bool {
    count >= other.count && compareBytes(prefix(other.count), other) == 0
  }
}
