import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// Executes a plan: all files are written completely before any of them gets its name.
struct PackWriter {
  private let plan: PackPlan
  private var progress: Progress
  /// Nil if nothing has to be cleaned up after a signal.
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

  /// Writes all files into a directory, and replaces existing ones only if requested. Signals are blocked meanwhile.
  /// After an error, no file and no partial file remains.
  mutating func write(into directory: FilePath, replaces: Bool) throws {
    var paths: [OutputPath] = []
    for name in plan.files.map(\.name) + (plan.index.map { [$0.name] } ?? []) {
      paths.append(try OutputPath(directory.pushing(FilePath(bytes: name)), replaces: replaces))
    }
    if let path = paths.first {
      try OutputFile.checkSpace(
        at: path.directory, for: path.file, byteCount: plan.byteCount, newByteCount: plan.computedByteCount)
    }
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
    // Makes the names durable too: fsync(2) of the directory, if the file system has that.
    for directory in Set(paths.map(\.directory)) {
      guard
        let descriptor = try? FileDescriptor.open(
          directory, .readOnly, options: [.directory, .closeOnExec])
      else { continue }
      _ = fsync(descriptor.rawValue)
      try? descriptor.close()
    }
  }

  private mutating func write(_ file: PackPlan.File, to output: OutputFile) throws {
    var copier = FileCopier(to: output)
    for piece in file.model.header { try append(piece, with: &copier, to: output) }
    /// Ranges that are contiguous both in one source and here are copied as one.
    var run: FileRange?
    for (_, tensor) in file.model.tensors where tensor.tensor.byteCount > 0 {
      for segment in try contents(of: tensor).segments {
        if case .file(let part) = segment, let open = run, open.file === part.file,
          open.range.upperBound == part.range.lowerBound
        {
          run = FileRange(open.range.lowerBound..<part.range.upperBound, of: open.file)
          continue
        }
        if let run { try append(run, with: &copier, to: output) }
        run = nil
        switch segment {
        case .memory(let bytes): try append(Array(bytes), with: &copier, to: output)
        case .file(let part): run = part
        case .computed(let elements): try append(elements, of: tensor, with: &copier, to: output)
        }
      }
      try checkRange(of: tensor)
    }
    if let run { try append(run, with: &copier, to: output) }
    try finish(&copier, output)
  }

  /// Refuses values that a conversion has made infinite.
  private func checkRange(of tensor: PackedTensor) throws(Failure) {
    guard let count = tensor.overflows?.count, count > 0 else { return }
    throw Failure(
      status: EX_DATAERR,
      "\(tensor.path.printable): tensor \(tensor.originalName): \(PrintableText.counted(count, "value")) outside the range "
        + "of \(tensor.tensor.dtype.name); clamp them with --saturate, or choose another --dtype"
    )
  }

  private func contents(of tensor: PackedTensor) throws(Failure) -> FileLayout {
    do throws(ModelError) {
      return try tensor.contents()
    } catch {
      throw Failure(error)
    }
  }

  private func finish(_ copier: inout FileCopier, _ output: OutputFile) throws(Failure) {
    do throws(FileCopier.Problem) {
      try copier.flush()
    } catch {
      throw output.failure(error, copying: nil)
    }
    try output.synchronize()
  }

  private mutating func append(_ bytes: [UInt8], with copier: inout FileCopier, to output: OutputFile)
    throws(Failure)
  {
    do throws(FileCopier.Problem) {
      try copier.append(bytes)
    } catch {
      throw output.failure(error, copying: nil)
    }
    progress.add(UInt64(bytes.count))
  }

  /// How many bytes of scattered elements are read at a time: more than a buffer, since each read brings their neighbours.
  private static let scatteredSize: UInt64 = 4 << 20

  private mutating func append(
    _ elements: any ComputedElements, of tensor: PackedTensor, with copier: inout FileCopier,
    to output: OutputFile
  ) throws {
    let sources = elements.sources(of: 0..<elements.byteCount)
    let isScattered = sources.contains { $0.range.isEmpty }
    var files: [SourceFile] = []
    for source in sources where !files.contains(where: { $0 === source.file }) { files.append(source.file) }
    var rest = 0..<elements.byteCount
    while !rest.isEmpty {
      try signals?.check()
      let count: UInt64
      do throws(FileCopier.Problem) {
        count =
          try isScattered
          ? append(scattered: rest, of: elements, with: &copier) : copier.append(rest, of: elements)
      } catch {
        for file in files where !file.isUnchanged() { throw Failure(file.changed) }
        if case .source(let problem) = error, problem == ScaleCheck.failure {
          throw Failure(
            status: EX_DATAERR,
            "\(tensor.path.printable): tensor \(tensor.originalName): \(ScaleCheck.reason(of: problem)); "
              + "leave it out with --exclude, or pack the model without --dequant")
        }
        throw output.failure(error, copying: tensor.path)
      }
      progress.add(count)
      rest = rest.lowerBound + count..<rest.upperBound
    }
    for file in files where !file.isUnchanged() { throw Failure(file.changed) }
  }

  /// Writes the beginning of a part of elements that are scattered in their file, and returns how many bytes that were.
  private func append(
    scattered range: Range<UInt64>, of elements: any ComputedElements, with copier: inout FileCopier
  ) throws(FileCopier.Problem) -> UInt64 {
    let count = min(Self.scatteredSize, range.upperBound - range.lowerBound)
    let bytes: [UInt8]
    do throws(Errno) {
      bytes = try [UInt8](filling: Int(count)) { target throws(Errno) in
        try elements.fill(&target, from: range.lowerBound)
      }
    } catch {
      throw .source(error)
    }
    try copier.append(bytes)
    return count
  }

  private mutating func append(_ part: FileRange, with copier: inout FileCopier, to output: OutputFile) throws
  {
    let file = part.file
    var rest = part.range
    while !rest.isEmpty {
      try signals?.check()
      do throws(FileCopier.Problem) {
        let count = try copier.append(rest, of: file)
        rest = rest.lowerBound + count..<rest.upperBound
        progress.add(count)
      } catch {
        // If the source has changed, that explains the error best.
        guard file.isUnchanged() else { throw Failure(file.changed) }
        throw output.failure(error, copying: file.path)
      }
    }
    guard file.isUnchanged() else { throw Failure(file.changed) }
  }

  /// Gives the files their names, the index last, so that readers of the index find all its files. If one fails, the previous
  /// ones are removed, except those that replaced others.
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
