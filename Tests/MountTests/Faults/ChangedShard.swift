import Fixtures
import Glibc
import SystemPackage

/// A shard that a test changes while it is mounted, and the kind of change.
struct ChangedShard: Sendable {
  /// The kinds of changes.
  enum Change: Sendable, CustomStringConvertible {
    case truncated(to: Int)
    case extended(by: Int)
    /// Overwrites the data from this byte on with other bytes.
    case rewritten(from: Int)
    case replaced
    case renamed
    case deleted

    /// True if the change keeps the mounted bytes.
    var isHarmless: Bool {
      switch self {
      case .truncated, .extended, .rewritten: false
      case .replaced, .renamed, .deleted: true
      }
    }

    var description: String {
      switch self {
      case .truncated(let size): "truncated to \(size)"
      case .extended(let count): "extended by \(count)"
      case .rewritten(let start): "rewritten from \(start)"
      case .replaced: "replaced"
      case .renamed: "renamed"
      case .deleted: "deleted"
      }
    }
  }

  /// The tensor's bytes, and the bytes that overwrite them. Made once, because making them is slow without optimisation.
  private static let contents = TensorData.bytes("U8", [1 << 20], seed: 1)
  private static let others = contents.map { ~$0 }

  /// The name of the only tensor, which no other shard has.
  let name: String
  let tensor: SafetensorsFile.Tensor
  let path: FilePath
  let change: Change

  /// Writes a shard of one U8 tensor with `count` elements, at most 2^20.
  init(_ number: Int, count: Int, _ change: Change, in directory: TemporaryDirectory) throws {
    name = "w\(number)"
    tensor = SafetensorsFile.Tensor(name, "U8", [count], data: Array(Self.contents.prefix(count)))
    path = try directory.write("\(name).safetensors", SafetensorsFile(tensor))
    self.change = change
  }

  /// Changes the file. Opens and prepares everything first, then calls `now`, then makes the change.
  func apply(now: () -> Void = {}) throws {
    let elsewhere = FilePath("\(path).elsewhere")
    let file = try FileDescriptor.open(path, .readWrite, options: .closeOnExec)
    defer { try? file.close() }
    let other = Self.others.prefix(tensor.data.count)
    now()
    switch change {
    case .truncated(let size): try file.resize(to: Int64(size))
    case .extended(let count): try file.resize(to: Stat(file).size + Int64(count))
    case .rewritten(let start):
      let data = Int64(try Stat(file).size) - Int64(tensor.data.count)
      _ = try file.writeAll(toAbsoluteOffset: data + Int64(start), other.dropFirst(start))
    case .replaced:
      let copy = try FileDescriptor.open(
        elsewhere, .writeOnly, options: [.create, .closeOnExec], permissions: .ownerReadWrite)
      try copy.closeAfter { _ = try copy.writeAll(other) }
      guard unsafe rename("\(elsewhere)", "\(path)") == 0 else { throw Errno(rawValue: errno) }
    case .renamed:
      guard unsafe rename("\(path)", "\(elsewhere)") == 0 else { throw Errno(rawValue: errno) }
    case .deleted:
      guard unsafe unlink("\(path)") == 0 else { throw Errno(rawValue: errno) }
    }
  }
}

/// What a program gets that maps a file and reads each page: the bytes, or SIGBUS, which a mapping raises in place
/// of EIO.
enum MappedReader {
  private static let program = """
    import mmap, sys
    file = open(sys.argv[1], 'rb')
    mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    sys.stdout.buffer.write(mapping[:])
    """

  /// Maps each file in a process of its own, because SIGBUS ends the process.
  private static let comparison = """
    import mmap, os, signal, sys
    expected = open(sys.argv[1], 'rb').read()
    for path in sys.argv[2:]:
        child = os.fork()
        if child == 0:
            file = open(path, 'rb')
            bytes = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:]
            os._exit(0 if bytes.endswith(expected) else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print({0: 'same', 1: 'other', -signal.SIGBUS: 'gone'}.get(status, status))
    """

  /// The bytes, or nil if reading them raised SIGBUS. A process of its own maps the file, because SIGBUS ends it.
  static func bytes(of path: FilePath) async throws -> [UInt8]? {
    let outcome = try await Command.run("python3", ["-c", program, "\(path)"])
    if outcome.status == 128 + SIGBUS { return nil }
    guard outcome.status == 0 else {
      throw CommandFailure(command: ["python3", "\(path)"], outcome: outcome)
    }
    return outcome.output
  }

  /// For each file: `same` if it ends with the bytes of `reference`, `other` if it does not, and `gone` if reading its bytes
  /// raised SIGBUS.
  static func compare(_ paths: [FilePath], with reference: FilePath) async throws -> [Substring] {
    let arguments = ["-c", comparison, "\(reference)"] + paths.map { "\($0)" }
    return try await Command.output(of: "python3", arguments: arguments).split(separator: "\n")
  }
}
