import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// Carries out a plan: all files are written whole before one of them gets its name.
struct PackWriter {
  private let plan: PackPlan
  private var progress: Progress
  /// Nil where nothing has to be cleaned up after a signal.
  private var signals: BlockedSignals?

  /// A writer of a plan.
  init(_ plan: PackPlan) {
    self.plan = plan
    progress = Progress("stpack", total: plan.byteCount)
  }

  /// Writes the one file of the plan to standard output.
  mutating func writeStream() throws {
    defer { progress.clear() }
    for file in plan.files { try write(file, to: OutputFile()) }
  }

  /// Writes all files into a directory; those that are there are replaced only if that is wanted. Meanwhile signals wait.
  /// Whatever is thrown, nothing is left: neither a file nor a part of one.
  mutating func write(into directory: FilePath, replaces: Bool) throws {
    var paths: [OutputPath] = []
    for name in plan.files.map(\.name) + (plan.index.map { [$0.name] } ?? []) {
      paths.append(try OutputPath(directory.pushing(FilePath(bytes: name)), replaces: replaces))
    }
    try checkSpace(paths)
    signals = BlockedSignals()
    defer { progress.clear() }
    var outputs: [OutputFile] = []
    for (file, path) in zip(plan.files, paths) {
      let output = try OutputFile(for: path)
      try write(file, to: output)
      outputs.append(output)
    }
    if let index = plan.index, let path = paths.last {
      let output = try OutputFile(for: path)
      var copier = FileCopier(to: output)
      try append(index.bytes, with: &copier, to: output)
      try finish(&copier, output)
      outputs.append(output)
    }
    try signals?.check()
    try publish(outputs, replaces: replaces)
    // The names are as lasting as the bytes: fsync(2) of the directory, where the file system has that.
    for directory in Set(paths.map(\.directory)) {
      guard
        let descriptor = try? FileDescriptor.open(
          directory, .readOnly, options: [.directory, .closeOnExec])
      else { continue }
      _ = fsync(descriptor.rawValue)
      try? descriptor.close()
    }
  }

  /// Refuses what cannot fit before a byte is written. A limit that the file system does not tell, such as a quota, is an
  /// error while writing.
  private func checkSpace(_ paths: [OutputPath]) throws(Failure) {
    guard let path = paths.first, let space = FreeSpace(at: path.directory) else { return }
    let needed = space.sharesBlocks ? plan.computedByteCount : plan.byteCount
    guard needed > space.bytes else { return }
    throw Failure(
      status: EX_OSERR,
      "\(path.file.printable): the output takes \(needed) bytes, and its file system has \(space.bytes) free; "
        + "free some, leave tensors out with --exclude, or write it elsewhere")
  }

  private mutating func write(_ file: PackPlan.File, to output: OutputFile) throws {
    var copier = FileCopier(to: output)
    for piece in file.header {
      try append(piece, with: &copier, to: output)
      progress.add(UInt64(piece.count))
    }
    /// Neighbours in one source that are neighbours here too are copied as one.
    var run: (file: SourceFile, range: Range<UInt64>)?
    for tensor in file.tensors where tensor.tensor.byteCount > 0 {
      let source: SourceFile
      do throws(ModelError) {
        source = try tensor.source.open()
      } catch {
        throw Failure(error)
      }
      if let gather = tensor.source.gather {
        if let run { try append(run.range, of: run.file, with: &copier, to: output) }
        run = nil
        try append(tensor.tensor.byteCount, gatheredBy: gather, from: source, with: &copier, to: output)
        continue
      }
      let range = tensor.source.range
      if let open = run, open.file === source, open.range.upperBound == range.lowerBound {
        run = (source, open.range.lowerBound..<range.upperBound)
      } else {
        if let run { try append(run.range, of: run.file, with: &copier, to: output) }
        run = (source, range)
      }
    }
    if let run { try append(run.range, of: run.file, with: &copier, to: output) }
    try finish(&copier, output)
  }

  private func finish(_ copier: inout FileCopier, _ output: OutputFile) throws(Failure) {
    do throws(FileCopier.Problem) {
      try copier.flush()
    } catch {
      throw Self.failure(error, nil, output)
    }
    try output.synchronize()
  }

  private func append(_ bytes: [UInt8], with copier: inout FileCopier, to output: OutputFile) throws(Failure)
  {
    do throws(FileCopier.Problem) {
      try copier.append(bytes)
    } catch {
      throw Self.failure(error, nil, output)
    }
  }

  /// How many bytes are gathered at a time.
  private static let gatheredSize: UInt64 = 4 << 20

  /// Writes a tensor whose elements lie elsewhere than they are to be.
  private mutating func append(
    _ count: UInt64, gatheredBy gather: (Range<UInt64>) throws(Errno) -> [UInt8], from file: SourceFile,
    with copier: inout FileCopier, to output: OutputFile
  ) throws {
    for start in stride(from: 0, to: count, by: Int(Self.gatheredSize)) {
      try signals?.check()
      let piece = start..<min(start + Self.gatheredSize, count)
      let bytes: [UInt8]
      do throws(Errno) {
        bytes = try gather(piece)
      } catch {
        guard file.isUnchanged() else { throw Failure(file.changed) }
        throw Self.failure(.source(error), file, output)
      }
      try append(bytes, with: &copier, to: output)
      progress.add(UInt64(piece.count))
    }
    guard file.isUnchanged() else { throw Failure(file.changed) }
  }

  private mutating func append(
    _ range: Range<UInt64>, of file: SourceFile, with copier: inout FileCopier, to output: OutputFile
  ) throws {
    // Twice the read-ahead, where the file is read from a disk.
    _ = posix_fadvise(
      file.descriptor.rawValue, off_t(range.lowerBound), off_t(range.count), Int32(POSIX_FADV_SEQUENTIAL))
    var rest = range
    while !rest.isEmpty {
      try signals?.check()
      do throws(FileCopier.Problem) {
        let count = try copier.append(rest, of: file)
        rest = rest.lowerBound + count..<rest.upperBound
        progress.add(count)
      } catch {
        // A source that is no longer what was opened explains itself best.
        guard file.isUnchanged() else { throw Failure(file.changed) }
        throw Self.failure(error, file, output)
      }
    }
    guard file.isUnchanged() else { throw Failure(file.changed) }
  }

  private static func failure(_ problem: FileCopier.Problem, _ file: SourceFile?, _ output: OutputFile)
    -> Failure
  {
    let source = file?.path.printable ?? "its input"
    switch problem {
    case .source(let error): return .system("\(source): cannot read it: \(error)")
    case .target(let error): return output.failure(error, "write")
    case .either(let error): return .system("\(source): cannot copy it to \(output.name): \(error)")
    }
  }

  /// Gives the files their names, the index last: readers that find it find all it names. Should one fail, those before it
  /// go again, but for such as have replaced others.
  private func publish(_ outputs: [OutputFile], replaces: Bool) throws(Failure) {
    for (position, output) in outputs.enumerated() {
      do throws(Failure) {
        try output.publish(replaces: replaces)
      } catch {
        if !replaces { for former in outputs[..<position] { former.withdraw() } }
        throw error
      }
    }
  }
}
