import Fixtures
import Testing

@testable import Models
import Safetensors
@testable import TensorFiles

@Suite("Decoding paths") struct PathDecoderTests {
  private func name(_ path: String) -> String {
    do throws(PathDecoder.Problem) {
      return String(decoding: try PathDecoder.name(of: path.utf8).utf8, as: UTF8.self)
    } catch {
      return error.problem
    }
  }

  @Test(
    "Valid escapes are decoded",
    arguments: [
      ("a/b", "a/b"), ("a%2Fb", "a/b"), ("%", ""), ("a/%/b", "a//b"), ("%2E%2E/a", "../a"),
      ("100%25", "100%"),
      ("%0A", "\n"), ("a%2Enpy/x", "a.npy/x"), ("%C3%A9", "é"), ("metadata%2Ejson", "metadata.json"),
      // stmount does not write these escapes, so they stay.
      ("100%", "100%"), ("%zz", "%zz"), ("%2f", "%2f"), ("50%/a%2Fb", "50%/a/b"),
    ])
  func decodes(path: String, expected: String) {
    #expect(name(path) == expected)
  }

  @Test("A path that was cut, or whose name is not UTF-8, is refused")
  func refusals() {
    #expect(name("aaa%~0123456789abcdef").contains("pack the mount itself"))
    #expect(name("a%FF").contains("not UTF-8"))
  }

  @Test("Every encoded path that was not cut decodes to its name")
  func inverse() throws {
    for seed in 0..<50 as Range<UInt64> {
      let names = HostileNames.names(seed: seed).map { TensorName(utf8: $0[...]) }.sorted()
      var encoder = PathEncoder()
      for name in names {
        let path = encoder.encode(name).bytes
        if path.contains(UInt8(ascii: "~")) { continue }
        #expect(try PathDecoder.name(of: path) == name, "seed \(seed)")
      }
    }
  }
}
