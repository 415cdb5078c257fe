import Glibc
import Linux
import Models
import Safetensors
import SystemPackage
import TensorFiles

/// Writes layouts to a file or a pipe, in order.
struct LayoutWriter {
  private var copier: FileCopier
  private let output: OutputFile
  private let signals: BlockedSignals?
  /// True if a pipe may hold pages of a source until they are read.
  private let lendsPages: Bool
  /// The sources of which it may hold pages, without repetitions in a row.
  private var sources: [SourceFile] = []

  /// A writer to a file that will have at most `capacity` bytes, or to standard output. With `sends`, the kernel sends long parts of
  /// files; without it, what is written goes to the disk at once, for an fsync(2) that follows. Between two pieces, `signals`
  /// are checked.
  init(
    to output: OutputFile, capacity: UInt64 = .max, sends: Bool = true, heeding signals: BlockedSignals? = nil
  ) {
    copier = FileCopier(to: output, capacity: capacity, sends: sends)
    self.output = output
    self.signals = signals
    lendsPages = sends && output.isStream
  }

  /// Writes bytes `range` of a layout, and calls `note` with the size of each piece. A changed source is an error. `tensor` is for
  /// messages. Throws ``Failure``, or ``Interruption`` after a signal.
  mutating func write(
    _ layout: FileLayout, _ range: Range<UInt64>, of tensor: TensorName?, _ note: (UInt64) -> Void = { _ in }
  ) throws {
    for (segment, part) in layout.parts(of: range) {
      let sources = segment.sources(of: 0..<segment.byteCount)
      let files = sources.files
      let areScattered = sources.contains { $0.range.isEmpty }
      try write(segment, part, of: tensor, files, areScattered: areScattered, note)
      try Self.check(files)
      if lendsPages { self.sources += files.filter { $0 !== self.sources.last } }
    }
  }

  private mutating func write(
    _ segment: FileLayout.Segment, _ part: Range<UInt64>, of tensor: TensorName?, _ files: [SourceFile],
    areScattered: Bool, _ note: (UInt64) -> Void
  ) throws {
    var rest = part
    while !rest.isEmpty {
      try signals?.check()
      do throws(FileCopier.Problem) {
        let count: UInt64
        switch segment {
        case .memory(let bytes):
          try copier.append(bytes.dropFirst(Int(rest.lowerBound)).prefix(rest.count))
          count = UInt64(rest.count)
        case .file(let source): count = try copier.append(source.part(rest).range, of: source.file)
        case .computed(let elements):
          count = try copier.append(rest, of: elements, areScattered: areScattered)
        }
        rest = rest.lowerBound + count..<rest.upperBound
        note(count)
      } catch {
        // If a source has changed, that explains the error best.
        try Self.check(files)
        throw output.failure(error, copying: files.first?.path, tensor: tensor)
      }
    }
  }

  /// Writes the rest, and waits until the reader of a pipe has taken everything. Call it at the end. A source that has changed is an
  /// error. If the reader is gone, SIGPIPE ends the command, as a write would.
  mutating func flush() throws(Failure) {
    let isRead: Bool
    do throws(FileCopier.Problem) {
      isRead = try copier.finish()
    } catch {
      throw output.failure(error, copying: nil)
    }
    if !isRead { raise(SIGPIPE) }
    try Self.check(sources)
  }

  private static func check(_ files: [SourceFile]) throws(Failure) {
    for file in files where !file.isUnchanged() { throw Failure(file.changed) }
  }
}

extension SourceFile {
  /// The error for a source that changed.
  var changed: ModelError {
    ModelError(.malformed, path, "it changed while it was read; run the command again")
  }
}
