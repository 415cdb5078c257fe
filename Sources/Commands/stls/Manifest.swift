import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// Digests of files, as sha256sum(1) prints and checks them.
struct Manifest {
  /// A line.
  struct Line: Sendable {
    /// The digest in hexadecimal digits.
    let digest: [UInt8]
    /// The file's path.
    let path: [UInt8]
  }

  let lines: [Line]

  /// A manifest of these lines.
  init(lines: [Line]) { self.lines = lines }

  /// The lines as text. A path with a backslash is escaped, and its line begins with a backslash; a mount's paths
  /// have no newline.
  var text: [UInt8] {
    let backslash = UInt8(ascii: "\\")
    return lines.flatMap { line in
      let isEscaped = line.path.contains(backslash)
      let path = isEscaped ? line.path.flatMap { $0 == backslash ? [$0, $0] : [$0] } : line.path
      return (isEscaped ? [backslash] : []) + line.digest + Array("  ".utf8) + path + [UInt8(ascii: "\n")]
    }
  }

  /// The digests of all tensors of a source, with their paths below a mount.
  static func lines(of files: [HashedFile]) throws -> [Line] {
    // The largest first, so that the processors finish at about the same time.
    let order = files.indices.sorted { files[$0].contents.byteCount > files[$1].contents.byteCount }
    let digests = try ParallelWork.map(order) { index in (index, try files[index].digest()) }
    return digests.sorted { $0.0 < $1.0 }.map { Line(digest: $1, path: files[$0].path) }
  }

  /// Reads a manifest; `-` is standard input. A large file that is none is refused at its beginning.
  init(reading path: FilePath) throws(Failure) {
    let newline = UInt8(ascii: "\n")
    var lines: [Line] = []
    var number = 0
    var unfinished: [UInt8] = []
    do {
      let file = path == "-" ? nil : try SourceFile(opening: path)
      var offset: UInt64 = 0
      while true {
        let piece = try ModelError.translating("read", path) { try Self.piece(of: file, at: offset) }
        offset += UInt64(piece.count)
        var parts = (unfinished + piece).split(separator: newline, omittingEmptySubsequences: false)
        unfinished = piece.isEmpty ? [] : parts.popLast().map(Array.init) ?? []
        for part in parts {
          number += 1
          let text = part.last == UInt8(ascii: "\r") ? part.dropLast() : part
          if text.isEmpty || text.first == UInt8(ascii: "#") { continue }
          guard let line = Self.parse(text) else { throw Self.refusal(path, number) }
          lines.append(line)
        }
        guard unfinished.count <= Self.longestLine else { throw Self.refusal(path, number + 1) }
        if piece.isEmpty { break }
      }
    } catch let error as ModelError {
      throw Failure(error)
    } catch {
      throw error as? Failure ?? .system("\(error)")
    }
    guard !lines.isEmpty else {
      throw Failure(
        status: EX_DATAERR,
        "\(path.printable): the manifest is empty; stls --hash sha256 SOURCE prints one")
    }
    self.lines = lines
  }

  /// In bytes: a digest with the signs around it, and a path with as many bytes as open(2) takes, all of them escaped.
  private static let longestLine = 80 + 2 * Int(PATH_MAX)

  /// The next bytes of a manifest, or of standard input; none at the end.
  private static func piece(of file: SourceFile?, at offset: UInt64) throws -> [UInt8] {
    let size = 64 << 10
    if let file { return try file.read(from: offset, count: Int(min(UInt64(size), file.size - offset))) }
    var bytes = [UInt8](repeating: 0, count: size)
    let count = try unsafe bytes.withUnsafeMutableBytes {
      try unsafe FileDescriptor.standardInput.read(into: $0)
    }
    return Array(bytes.prefix(count))
  }

  private static func refusal(_ path: FilePath, _ line: Int) -> Failure {
    Failure(
      status: EX_DATAERR, "\(path.printable): line \(line) is not a line of sha256sum: DIGEST  PATH")
  }

  /// Reads a line: `DIGEST  PATH`, `DIGEST *PATH`, or as `sha256sum --tag` and OpenSSL write it, `SHA256 (PATH) = DIGEST`. Nil if it
  /// is neither.
  private static func parse(_ line: ArraySlice<UInt8>) -> Line? {
    let backslash = UInt8(ascii: "\\")
    let isEscaped = line.first == backslash
    let rest = line.dropFirst(isEscaped ? 1 : 0)
    guard let (digits, name) = tagged(rest) ?? untagged(rest) else { return nil }
    // Capital letters are digits too.
    let digest = digits.map { (0x41...0x46).contains($0) ? $0 | 0x20 : $0 }
    guard digest.count == 64, digest.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
    else { return nil }
    var path: [UInt8] = []
    var bytes = name
    while let byte = bytes.popFirst() {
      guard isEscaped, byte == backslash else {
        path.append(byte)
        continue
      }
      switch bytes.popFirst() {
      case backslash: path.append(backslash)
      case UInt8(ascii: "n"): path.append(UInt8(ascii: "\n"))
      case UInt8(ascii: "r"): path.append(UInt8(ascii: "\r"))
      default: return nil
      }
    }
    // As find(1) prints it.
    if path.starts(with: "./".utf8) { path.removeFirst(2) }
    return path.isEmpty ? nil : Line(digest: digest, path: path)
  }

  private typealias Parts = (digest: ArraySlice<UInt8>, path: ArraySlice<UInt8>)

  private static func untagged(_ line: ArraySlice<UInt8>) -> Parts? {
    let mark = line.dropFirst(64).prefix(2)
    guard mark.elementsEqual("  ".utf8) || mark.elementsEqual(" *".utf8) else { return nil }
    return (line.prefix(64), line.dropFirst(66))
  }

  private static func tagged(_ line: ArraySlice<UInt8>) -> Parts? {
    guard line.starts(with: "SHA256".utf8) else { return nil }
    var path = line.dropFirst(6).drop { $0 == UInt8(ascii: " ") }
    // The last one: a path can hold others.
    guard path.popFirst() == UInt8(ascii: "("), let end = path.lastIndex(of: UInt8(ascii: ")")) else {
      return nil
    }
    var digest = path[(end + 1)...].drop { $0 == UInt8(ascii: " ") }
    guard digest.popFirst() == UInt8(ascii: "=") else { return nil }
    digest = digest.drop { $0 == UInt8(ascii: " ") }
    return (digest, path[..<end])
  }
}

/// A tensor's file below a mount.
struct HashedFile: Sendable {
  let path: [UInt8]
  let tensor: Tensor
  let contents: FileLayout

  /// The number of bytes read at a time; they fit into the processor's cache.
  private static let step = 128 << 10

  /// The files of all tensors, in the order of a mount's tree.
  static func all(in files: FileTree) throws(Failure) -> [HashedFile] {
    var all: [HashedFile] = []
    for (path, place) in files.files(in: .raw) {
      let node = files.tree.node(place)
      guard node.kind == .tensor else { continue }
      let tensor = files.source(of: node).tensor
      guard let contents = files.layout(of: place) else {
        throw Failure.tooLarge(tensor.name)
      }
      all.append(HashedFile(path: path, tensor: tensor, contents: contents))
    }
    return all
  }

  /// The SHA-256 of the contents, in hexadecimal digits.
  func digest() throws -> [UInt8] {
    var hash = SHA256()
    var bytes = [UInt8](repeating: 0, count: Int(min(UInt64(Self.step), contents.byteCount)))
    var rest = 0..<contents.byteCount
    while !rest.isEmpty {
      let count = min(rest.count, bytes.count)
      try contents.read(from: rest.lowerBound, count, into: &bytes, of: tensor)
      unsafe hash.add(bytes.span.bytes.extracting(first: count))
      rest = rest.lowerBound + UInt64(count)..<rest.upperBound
    }
    return SHA256.hex(hash.finish())
  }
}
