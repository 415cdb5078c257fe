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
  /// The sources of what was written to standard output, without repetitions in a row.
  private var sources: [SourceFile] = []

  /// A writer to a file that will have at most `capacity` bytes, or to standard output. Between two pieces, `signals` are
  /// checked.
  init(to output: OutputFile, capacity: UInt64 = .max, heeding signals: BlockedSignals? = nil) {
    copier = FileCopier(to: output, capacity: capacity, sends: true)
    self.output = output
    self.signals = signals
  }

  /// Writes bytes `range` of a layout, and calls `note` with the size of each piece. A changed source is an error. `tensor` is for
  /// messages. Throws ``Failure``, or ``Interruption`` after a signal.
  mutating func write(
    _ layout: FileLayout, _ range: Range<UInt64>, of tensor: TensorName?, _ note: (UInt64) -> Void = { _ in }
  ) throws {
    for (segment, part) in layout.parts(of: range) {
      try write(segment, part, of: tensor, note)
      try Self.check(segment.sources)
      if output.isStream {
        for source in segment.sources where source.file !== sources.last { sources.append(source.file) }
      }
    }
  }

  private mutating func write(
    _ segment: FileLayout.Segment, _ part: Range<UInt64>, of tensor: TensorName?, _ note: (UInt64) -> Void
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
        case .computed(let elements): count = try copier.append(rest, of: elements)
        }
        rest = rest.lowerBound + count..<rest.upperBound
        note(count)
      } catch {
        let sources = segment.sources
        // If the source has changed, that explains the error best.
        try Self.check(sources)
        throw output.failure(error, copying: sources.first?.file.path, tensor: tensor)
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
    for source in sources where !source.isUnchanged() { throw Failure(source.changed) }
  }

  private static func check(_ sources: [FileRange]) throws(Failure) {
    var last: SourceFile?
    for source in sources where source.file !== last {
      guard source.file.isUnchanged() else { throw Failure(source.file.changed) }
      last = source.file
    }
  }
}

extension FileLayout.Segment {
  /// The source files of the whole segment.
  fileprivate var sources: [FileRange] {
    switch self {
    case .memory: []
    case .file(let source): [source]
    case .computed(let elements): elements.sources(of: 0..<elements.byteCount)
    }
  }
}

extension SourceFile {
  /// The error for a source that changed.
  var changed: ModelError {
    ModelError(.malformed, path, "it changed while it was read; run the command again")
  }
}
