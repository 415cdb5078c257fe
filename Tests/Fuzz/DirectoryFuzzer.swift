import Fixtures

@testable import Models
@testable import Safetensors
@testable import TensorFiles

/// The reader of metadata.json, as stpack reads it from a directory of tensors.
enum DirectoryFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] {
    let tensor = #""dtype":"F32","shape":[2,3],"nbytes":24"#
    let texts = [
      #"{"tensors":{}}"#, #"{"tensors":{"a":{"path":"a",\#(tensor)},"b/c":{"path":"b%2Fc",\#(tensor)}}}"#,
      #"{"format":"safetensors","metadata":{"k":"v"},"total_size":24,"tensors":{"a":{"path":"d/a",\#(tensor)}}}"#,
      #"{"metadata":{"1":{"k":"v"},"2":{}},"tensors":{"a":{"path":"a",\#(tensor),"source":"1","offset":8}}}"#,
      #"{"tensors":{"a":{"path":"../a",\#(tensor)}}}"#,
      #"{"tensors":{"a":{"path":"a",\#(tensor),"path":"b"}}}"#,
      #"{"tensors":{"a":{"path":"a","dtype":"F4","shape":[3],"nbytes":1}}}"#, #"{"tensors":{},"tensors":{}}"#,
    ]
    return texts.map { Array($0.utf8) }
  }

  static var words: [String] {
    ["\"tensors\":{", "\"metadata\":{", "\"path\":", "\"nbytes\":", "\"dtype\":", "\"shape\":["]
      + DType.allCases.map { "\"\($0.name)\"" }
  }

  static func test(_ input: [UInt8]) {
    let document: TensorDocument
    do throws(JSONError) {
      document = try TensorDocument(reading: input.span)
    } catch {
      requirePrintable(error.problem)
      return
    }
    require((try? JSONValue(parsing: input)) != nil, "it is accepted, and no JSON")
    let tensors = document.entries.map(\.tensor)
    for (left, right) in zip(tensors, tensors.dropFirst()) {
      require(
        left.name.utf8.lexicographicallyPrecedes(right.name.utf8), "\(left.name) comes before \(right.name)")
    }
    for entry in document.entries {
      let tensor = entry.tensor
      require(tensor.dtype.byteCount(of: tensor.shape) == tensor.byteCount, "\(tensor.name) has another size")
      let components = entry.path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      require(
        !entry.path.contains(0)
          && components.allSatisfy {
            !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8)
          }, "\(PrintableText.quoted(entry.path)) leads elsewhere")
    }
  }
}
