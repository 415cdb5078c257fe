internal import Models
package import Safetensors

/// The path of a tensor's name below the mount point.
package struct EncodedPath: Sendable, Equatable {
  /// The encoded components, joined by `/`. Valid UTF-8; each of them has 1 to 255 bytes.
  package fileprivate(set) var bytes: [UInt8] = []
}

/// Maps each tensor's name to its path. Every ordinary name is its own path.
///
/// Characters that a path cannot contain are percent-encoded byte by byte, in upper case: control bytes, `%` itself, the
/// components `.` and `..`, and a `/` after a prefix that is itself a file. An empty component is a bare `%`.
/// A component longer than NAME_MAX is cut and ends in `%~` and a hash of the name. docs/SEMANTICS.md has the
/// rules. The path depends only on the set of names, and two names never share one.
///
/// Pass it every name of a model once, in ascending order of their bytes: a name's prefixes then come before it,
/// and the whole takes time linear in the names' length.
package struct PathEncoder {
  /// The hidden entries of a model's root. No tensor's path may begin with one.
  package static let hiddenNames =
    View.inDirectories.map(\.directory) + [ViewedTree.modelFile, ViewedTree.dequantizedDirectory]
  /// The file that describes a model.
  package static let metadataFile = Array("metadata.json".utf8)

  /// The files that are prefixes of the last name, shortest first.
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
      // A file cannot be a directory too.
      if file < prefixes.count, prefixes[file].count == length { continue }
      writer.append(raw[start..<slash])
      start = slash + 1
    }
    writer.append(raw[start...])
    return writer.path
  }

  /// A single component, as bytes; for names of directories that do not come from tensors.
  static func encodeDirectory(_ name: [UInt8]) -> [UInt8] {
    var writer = PathWriter(name: name[...])
    writer.append(name[...])
    return writer.path.bytes
  }
}

/// Builds a path from the components of a name.
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
      // The rest of a component of 100 MB does not matter.
      if encoded.count > CutName.maximumCount { return Array(CutName.cut(encoded[...], hash: hash)) }
    }
    return encoded
  }
}

private let dot = UInt8(ascii: ".")

/// True for bytes that are always encoded in a path.
private func mustEscape(_ byte: UInt8) -> Bool {
  byte < 0x20 || byte == 0x7F || byte == UInt8(ascii: "%") || byte == UInt8(ascii: "/")
}

private func escape(_ byte: UInt8) -> [UInt8] {
  [UInt8(ascii: "%"), hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)]]
}

private let hexDigits = Array("0123456789ABCDEF".utf8)

extension ArraySlice<UInt8> {
  /// True if `other` is the beginning of these bytes.
  fileprivate func begins(with other: ArraySlice<UInt8>) -> Bool {
    count >= other.count && compareBytes(prefix(other.count), other) == 0
  }
}
