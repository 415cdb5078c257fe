import Glibc
import Linux
import Models
import Safetensors
import SystemPackage

/// A tensor from another input: `--replace NAME=PATH`.
struct Replacement {
  private let name: TensorName
  private let path: FilePath

  /// Reads an argument of the command line.
  init(_ text: String) throws(Failure) {
    let bytes = text.argumentBytes
    func usage(_ problem: String) -> Failure {
      .usage("--replace \(PrintableText.quoted(bytes)): \(problem)", command: "stpack")
    }
    guard let sign = bytes.firstIndex(of: UInt8(ascii: "=")), sign + 1 < bytes.endIndex else {
      throw usage("expected NAME=PATH")
    }
    guard String(validating: bytes[..<sign], as: UTF8.self) != nil else {
      throw usage("a tensor's name is UTF-8")
    }
    name = TensorName(utf8: bytes[..<sign])
    path = FilePath(bytes: bytes[(sign + 1)...])
  }

  /// Replaces the tensors of its name, which `selection` has chosen: with the array of a NumPy file, or with the tensor of that
  /// name in any other input. Returns the former tensor, and warnings that are safe to print.
  func apply(
    to tensors: inout [PackedTensor], chosenBy selection: NameSelection
  ) throws(Failure) -> (former: PackedTensor, warnings: [String]) {
    guard selection.contains(name) else {
      throw Failure(
        status: EX_USAGE,
        "--replace: --include or --exclude leaves tensor \(name) out; give only one of the two")
    }
    guard let former = tensors.first(where: { $0.originalName == name }) else {
      let suggestion = NearestNames.suggestion(
        for: Array(name.utf8), among: tensors.lazy.map(\.originalName.utf8))
      throw Failure(status: EX_NOINPUT, "--replace: no input has a tensor \(name)\(suggestion)")
    }
    let input: PackInput
    do throws(ModelError) {
      input = try PackInput(
        opening: path, PackInput.Options(selection: NameSelection(including: [], excluding: [])))
    } catch {
      throw Failure(error)
    }
    guard let replacement = input.tensors.first(where: { input.isArray || $0.originalName == name }) else {
      let suggestion = NearestNames.suggestion(
        for: Array(name.utf8), among: input.tensors.lazy.map(\.originalName.utf8))
      throw Failure(status: EX_NOINPUT, "--replace: \(path.printable) has no tensor \(name)\(suggestion)")
    }
    tensors.removeAll { $0.originalName == name }
    tensors.append(replacement.called(name))
    return (former, input.warnings)
  }

  /// A warning, safe to print, if the tensor has another dtype or shape than before in what will be written.
  func warning(of former: Tensor, in tensors: [PackedTensor]) -> String? {
    guard let new = tensors.first(where: { $0.originalName == name })?.tensor,
      former.dtype != new.dtype || former.shape != new.shape
    else { return nil }
    return "tensor \(name) was \(former.form) and is \(new.form) now"
  }
}
