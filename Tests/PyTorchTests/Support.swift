import Fixtures
import Testing

@testable import PyTorch

/// Reads a file of any form.
func read(_ bytes: [UInt8]) throws(FormatError) -> PyTorchFile {
  guard let form = PyTorchFile.form(of: bytes) else { throw FormatError(at: 0, .noPickle) }
  return try PyTorchFile(bytes, form: form)
}

/// The error for a file; nil if it is accepted.
func refusal(of bytes: [UInt8]) -> FormatError? {
  do throws(FormatError) {
    _ = try read(bytes)
    return nil
  } catch {
    return error
  }
}

/// The error for an archive with this object, and the offset of its pickle.
func refusal(of object: PickledValue) -> (error: FormatError?, start: UInt64) {
  let archive = TorchFile(object).archive
  return (refusal(of: archive.bytes), UInt64(archive.offset(of: "archive/data.pkl")))
}

extension PyTorchFile {
  /// The tensors' names.
  var names: [String] { tensors.map { String(decoding: $0.name, as: UTF8.self) } }
}

extension FormatError {
  /// The text of a problem that has one.
  var text: String? {
    if case .malformed(_, let text) = problem { text } else { nil }
  }
}
