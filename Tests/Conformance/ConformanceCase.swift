package import Fixtures
package import Safetensors

/// A small file, and the expected result of reading it.
///
/// The expected results were measured with the reference package, safetensors 0.8.
package struct ConformanceCase: Sendable {
  /// A description for humans.
  package let title: String
  /// The file.
  package let bytes: [UInt8]
  /// The expected result.
  package let verdict: Verdict

  /// All of them.
  package static let all = frame + metadata + fields + dtypes + shapes + layout + duplicates + names

  /// The kinds of expected results.
  package enum Verdict: Sendable {
    /// Both readers accept the file with these tensors, sorted by name, and this metadata.
    case accepted([ExpectedTensor], [String: String])
    /// Both readers refuse the file with the error of this name.
    case refused(String)
    /// This reader refuses the file with this error. The reference accepts it or, if `reference` is given, refuses it with the
    /// error of that name.
    case stricter(HeaderError, reference: String?)
  }

  /// The expected description of a tensor.
  package struct ExpectedTensor: Sendable, Equatable {
    var name: [UInt8]
    var dtype: String
    var shape: [UInt64]
    var range: Range<UInt64>

    /// A tensor from its parts.
    package init(name: [UInt8], dtype: String, shape: [UInt64], range: Range<UInt64>) {
      self.name = name
      self.dtype = dtype
      self.shape = shape
      self.range = range
    }
  }

  static func accepted(
    _ title: String, _ file: SafetensorsFile, _ tensors: ExpectedTensor..., metadata: [String: String] = [:]
  ) -> Self {
    Self(title: title, bytes: file.bytes, verdict: .accepted(tensors, metadata))
  }

  static func refused(_ title: String, _ file: SafetensorsFile, _ error: String) -> Self {
    Self(title: title, bytes: file.bytes, verdict: .refused(error))
  }

  static func refused(_ title: String, _ bytes: [UInt8], _ error: String) -> Self {
    Self(title: title, bytes: bytes, verdict: .refused(error))
  }

  static func stricter(
    _ title: String, _ file: SafetensorsFile, _ error: HeaderError, reference: String? = nil
  ) -> Self {
    Self(title: title, bytes: file.bytes, verdict: .stricter(error, reference: reference))
  }
}

// MARK: - Building them

extension ConformanceCase {
  /// A file of this header, as JSON, and this data.
  static func file(_ header: String, _ data: String = "") -> SafetensorsFile {
    SafetensorsFile(header: header, data: Array(data.utf8))
  }

  /// A file of one tensor. Each argument is JSON, which goes into the header unchanged.
  package static func one(
    name: String = #""a""#, dtype: String = #""U8""#, shape: String = "[1]", offsets: String = "[0,1]",
    more: String = "", data: String = "x"
  ) -> SafetensorsFile {
    file(
      #"{\#(name):{"dtype":\#(dtype),"shape":\#(shape),"data_offsets":\#(offsets)\#(more)}}"#, data)
  }

  /// A file of several tensors of U8, each with one dimension. Names go into the header unchanged.
  static func several(_ tensors: (name: String, shape: UInt64, begin: UInt64, end: UInt64)..., data: String)
    -> SafetensorsFile
  {
    let entries = tensors.map {
      #""\#($0.name)":{"dtype":"U8","shape":[\#($0.shape)],"data_offsets":[\#($0.begin),\#($0.end)]}"#
    }
    return file("{" + entries.joined(separator: ",") + "}", data)
  }
}

extension ConformanceCase.ExpectedTensor {
  static func tensor(
    _ name: String = "a", _ dtype: String = "U8", _ shape: [UInt64] = [1], _ range: Range<UInt64> = 0..<1
  ) -> Self {
    Self(name: Array(name.utf8), dtype: dtype, shape: shape, range: range)
  }
}
