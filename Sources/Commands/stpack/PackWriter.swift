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
      var writer = LayoutWriter(to: output, sends: false, heeding: signals)
      try write(FileLayout(index.bytes), of: nil, with: &writer)
      try writer.flush()
      try output.synchronize()
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
    var writer = LayoutWriter(to: output, sends: false, heeding: signals)
    for piece in file.model.header { try write(FileLayout(piece), of: nil, with: &writer) }
    /// What is to be written next. Parts that are contiguous both in one source and here are copied as one.
    var run: FileLayout?
    for (_, tensor) in file.model.tensors where tensor.tensor.byteCount > 0 {
      let contents = try contents(of: tensor)
      if let joined = run?.joined(to: contents) {
        run = joined
        continue
      }
      if let run { try write(run, of: nil, with: &writer) }
      run = nil
      if tensor.isComputed {
        try write(contents, of: tensor.originalName, with: &writer)
        try checkRange(of: tensor)
      } else {
        run = contents
      }
    }
    if let run { try write(run, of: nil, with: &writer) }
    try writer.flush()
    try output.synchronize()
  }

  private mutating func write(_ layout: FileLayout, of tensor: TensorName?, with writer: inout LayoutWriter)
    throws
  {
    try writer.write(layout, 0..<layout.byteCount, of: tensor) { progress.add($0) }
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

extension FileLayout {
  /// These bytes and others that follow them in the same file, as one range. Nil for any other layouts.
  fileprivate func joined(to next: FileLayout) -> FileLayout? {
    guard segments.count == 1, next.segments.count == 1, let both = FileLayout(segments + next.segments),
      both.segments.count == 1
    else { return nil }
    return both
  }
}
