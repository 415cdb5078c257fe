package import SystemPackage

/// Why a file of PyTorch is refused. Names in it are the file's own bytes, not safe to print.
package struct FormatError: Error, Equatable {
  /// What is wrong.
  package enum Problem: Equatable, Sendable {
    /// A zip archive without a top-level directory that contains `data.pkl`.
    case noPickle
    /// An archive of PyTorch's of another kind.
    case foreign(ForeignArchive)
    /// The pickle has a name that only attacks use, or calls it.
    case global(name: [UInt8], isCalled: Bool)
    /// An entry of the archive is compressed.
    case compressed(entry: [UInt8])
    /// The pickle has an opcode that PyTorch does not write.
    case opcode(UInt8)
    /// The file violates its format; a clause about the subject.
    case malformed(Subject, String)
    /// The file ends too early.
    case truncated
    /// Bytes follow the end of the file's contents.
    case trailing(count: UInt64)
    /// The numbers were written on a big-endian machine.
    case bigEndian
    /// The system failed.
    case unreadable(Errno)
  }

  /// Archives of PyTorch's that hold no pickled tensors.
  package enum ForeignArchive: Equatable, Sendable {
    /// Code and data of torch.package.
    case package
    /// A program of torch.export.
    case exported
    /// TorchScript of PyTorch 1.0 to 1.2, with a `model.json`.
    case oldTorchScript
  }

  /// The subject of a problem.
  package enum Subject: Equatable, Sendable {
    /// The file, or the archive that it is.
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

  /// The byte of the file at which it was found, or nil.
  package let offset: UInt64?
  /// What is wrong.
  package let problem: Problem

  init(at offset: UInt64?, _ problem: Problem) {
    self.offset = offset
    self.problem = problem
  }

  /// The same error in a file of which the source is the part from `start` on.
  package func moved(by start: UInt64) -> FormatError {
    guard let offset else { return self }
    let (sum, overflow) = offset.addingReportingOverflow(start)
    return FormatError(at: overflow ? nil : sum, problem)
  }

  /// For a file with trailing bytes, if the caller does not accept ``PyTorchFile/trailingBytes``.
  package init(trailing count: UInt64, fileSize: UInt64) {
    self.init(at: fileSize - count, .trailing(count: count))
  }
}
