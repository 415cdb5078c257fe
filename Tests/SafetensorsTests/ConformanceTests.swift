import Conformance
import Safetensors
import Testing

@Suite("Conformance to the reference") struct ConformanceTests {
  @Test("There are 134 different cases")
  func everyCaseIsThere() {
    #expect(ConformanceCase.all.count == 134)
    #expect(Set(ConformanceCase.all.map(\.bytes)).count == 134)
  }

  @Test("A file is read as the reference reads it, or refused for its reason", arguments: ConformanceCase.all)
  func verdict(_ example: ConformanceCase) {
    let result = Result { () throws(HeaderError) in try readHeader(example.bytes) }
    switch (example.verdict, result) {
    case (.accepted(let tensors, let metadata), .success(let header)):
      let found = (0..<header.count).map { index in
        let tensor = header[index]
        return ConformanceCase.ExpectedTensor(
          name: Array(tensor.name.utf8), dtype: tensor.dtype.name, shape: Array(tensor.shape),
          range: tensor.dataRange)
      }
      #expect(found == tensors)
      let pairs = header.metadata.map {
        (String(decoding: $0.key, as: UTF8.self), String(decoding: $0.value, as: UTF8.self))
      }
      #expect(Dictionary(uniqueKeysWithValues: pairs) == metadata)
      #expect(header.trailingBytes == 0)
    case (.refused(let name), .failure(let error)):
      #expect(error.referenceName == name)
    case (.stricter(let expected, _), .failure(let error)):
      #expect(error == expected)
    default:
      Issue.record("\(result) where \(example.verdict) was expected")
    }
  }
}

extension ConformanceCase: CustomTestStringConvertible {
  package var testDescription: String { title }
}
