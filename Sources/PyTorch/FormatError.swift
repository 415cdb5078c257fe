package import SystemPackage

/// Why a PyTorch file is refused. Names in the error are raw bytes of the file: escape them before printing.
package struct FormatError: Error, Equatable {
  /// What is wrong.
  package enum Problem: Equatable, Sendable {
    /// A zip archive without a top-level directory that contains `data.pkl`.
    case noPickle
    /// Another kind of PyTorch archive.
    case foreign(ForeignArchive)
    /// The pickle names or calls a class or function that only attacks use.
    case global(name: [UInt8], isCalled: Bool)
    /// An archive entry is compressed.
    case compressed(entry: [UInt8])
    /// The pickle has an opcode that PyTorch does not write.
    case opcode(UInt8)
    /// The file violates its format. The text is a clause about the subject.
    case malformed(Subject, String)
    /// The file ends too early.
    case truncated
    /// Bytes follow the end of the file's contents.
    case trailing(count: UInt64)
    /// The numbers were written on a big-endian machine.
    case bigEndian
    /// A read failed.
    case unreadable(Errno)
  }

  /// PyTorch archives without pickled tensors.
  package enum ForeignArchive: Equatable, Sendable {
    /// torch.package: code and data.
    case package
    /// A torch.export program.
    case exported
    /// TorchScript of PyTorch 1.0 to 1.2, with a `model.json`.
    case oldTorchScript
  }

  /// The subject of a problem.
  package enum Subject: Equatable, Sendable {
    /// The file, which may be an archive.
    case file
    /// An entry of the archive.
    case entry([UInt8])
    /// The pickle.
    case pickle
    /// A tensor, by its dotted name.
    case tensor([UInt8])
    /// A storage, by its key.
    case storage([UInt8])
  }

  /// The offset in the file, if known.
  package let offset: UInt64?
  package let problem: Problem

  init(at offset: UInt64?, _ problem: Problem) {
    self.offset = offset
    self.problem = problem
  }

  /// The same error, if the source was the part of a file that begins at `start`.
  package func moved(by start: UInt64) -> FormatError {
    guard let offset else { return self }
    let (sum, overflow) = offset.addingReportingOverflow(start)
    return FormatError(at: overflow ? nil : sum, problem)
  }

  /// The error for trailing bytes, for callers that do not accept ``PyTorchFile/trailingBytes``.
  package init(trailing count: UInt64, fileSize: UInt64) {
    self.init(at: fileSize - count, .trailing(count: count))
  }
}
