import Models
import PyTorch
import Safetensors
import SystemPackage

/// Prints the results of this reader for files, for Tests/Reference/differential.py.
///
/// Standard input has files one after the other, each after its length in four bytes, little-endian.
/// Standard output has one line of JSON for each file: the tensors as arrays of name, dtype, shape and data range,
/// and the metadata; or the error's name. Names and metadata are in hexadecimal.
@main enum Verdicts {
  static func main() {
    while let prefix = read(4) {
      let count = prefix.reversed().reduce(0) { $0 << 8 | Int($1) }
      guard let file = read(count) else { fatalError("standard input ends within a file") }
      print(verdict(file))
    }
  }

  /// The next bytes of standard input; nil if there are not so many.
  private static func read(_ count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var filled = 0
    while filled < count {
      let more = unsafe bytes[filled...].withUnsafeMutableBytes { rest in
        unsafe try? FileDescriptor.standardInput.read(into: rest)
      }
      guard let more, more > 0 else { return nil }
      filled += more
    }
    return bytes
  }

  private static func verdict(_ file: [UInt8]) -> String {
    if let form = PyTorchFile.form(of: Array(file.prefix(ForeignFormat.prefixSize))) {
      return verdict(file, form)
    }
    do throws(HeaderError) {
      let size = UInt64(file.count)
      let length = try HeaderPrefix.length(
        start: Array(file.prefix(ForeignFormat.prefixSize)), fileSize: size)
      let start = Int(HeaderPrefix.size)
      let header = try Header(json: file.span.extracting(start..<start + length), fileSize: size)
      let tensors = (0..<header.count).map { index in
        let tensor = header[index]
        let range = tensor.dataRange
        return
          #"[\#(hex(tensor.name.utf8)), "\#(tensor.dtype.name)", \#(Array(tensor.shape)), \#(range.lowerBound), \#(range.upperBound)]"#
      }
      let metadata = header.metadata.map { "\(hex($0.key)): \(hex($0.value))" }
      return
        #"{"tensors": [\#(tensors.joined(separator: ", "))], "metadata": {\#(metadata.joined(separator: ", "))}}"#
    } catch {
      switch error {
      case .duplicateTensor: return #"{"error": "DuplicateTensor"}"#
      case .duplicateMetadataKey: return #"{"error": "DuplicateMetadataKey"}"#
      default: return #"{"error": "\#(error.referenceName ?? "")"}"#
      }
    }
  }

  /// The result for a PyTorch file, for Tests/Reference/torch_differential.py: the tensors as arrays of name, element
  /// type, shape, strides and the offset of the first element, and the names of omitted tensors; or the error.
  private static func verdict(_ file: [UInt8], _ form: PyTorchFile.Form) -> String {
    do throws(FormatError) {
      let read = try PyTorchFile(file, form: form)
      let tensors = read.tensors.map { tensor in
        #"[\#(hex(tensor.name)), "\#(tensor.type.rawValue)", \#(Array(tensor.shape)), \#(Array(tensor.strides)), "#
          + "\(tensor.range.lowerBound)]"
      }
      let omitted = read.omissions.map { hex($0.name) }
      return
        #"{"tensors": [\#(tensors.joined(separator: ", "))], "omitted": [\#(omitted.joined(separator: ", "))]}"#
    } catch {
      return #"{"error": \#(hex(Array("\(error)".utf8)[...]))}"#
    }
  }

  private static func hex(_ bytes: ArraySlice<UInt8>) -> String {
    "\"" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "\""
  }
}
