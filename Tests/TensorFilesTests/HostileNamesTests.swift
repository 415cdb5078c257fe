import Fixtures
import Testing

@testable import Models
import Safetensors
@testable import TensorFiles

@Suite("Paths of hostile sets of names") struct HostileNamesTests {
  /// The sets of names, with the seed of each.
  private static let sets = (0..<250 as Range<UInt64>).map { seed in
    (seed: seed, pairs: PathEncoder.paths(of: HostileNames.names(seed: seed)))
  }

  /// The seeds of the sets whose paths violate `isSound`.
  private func failures(_ isSound: ([(name: [UInt8], path: [UInt8])]) -> Bool) -> [UInt64] {
    Self.sets.filter { !isSound($0.pairs) }.map(\.seed)
  }

  private static func components(_ path: [UInt8]) -> [ArraySlice<UInt8>] {
    path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
  }

  @Test("No two names share a path")
  func unique() {
    #expect(failures { pairs in Set(pairs.map(\.path)).count == pairs.count } == [])
  }

  @Test("No file is below another file, below metadata.json, or in a view's directory")
  func noFileInFile() {
    let reserved = PathEncoder.hiddenNames + [PathEncoder.metadataFile]
    #expect(
      failures { pairs in
        let files = Set(pairs.map(\.path) + reserved)
        return pairs.allSatisfy { pair in
          let slashes = pair.path.indices.filter { pair.path[$0] == UInt8(ascii: "/") }
          return !reserved.contains(pair.path)
            && slashes.allSatisfy { !files.contains(Array(pair.path[..<$0])) }
        }
      } == [])
  }

  @Test("Every component is a valid and printable file name")
  func components() {
    #expect(
      failures { pairs in
        pairs.allSatisfy { pair in
          String(validating: pair.path, as: UTF8.self) != nil
            && Self.components(pair.path).allSatisfy { component in
              (1...255).contains(component.count) && !component.elementsEqual(".".utf8)
                && !component.elementsEqual("..".utf8)
                && component.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
            }
        }
      } == [])
  }

  @Test("A path that was not cut determines the name, and few paths are cut")
  func decodable() {
    var cut = 0
    var whole = 0
    let failures = failures { pairs in
      pairs.allSatisfy { pair in
        guard let name = ReferenceEncoder.decode(pair.path) else {
          cut += 1
          return pair.name.count > 255 / 3
        }
        whole += 1
        return name == pair.name
      }
    }
    #expect(failures == [])
    #expect(cut > 50 && whole > 10 * cut, "the sets hold enough of both: \(cut), \(whole)")
  }

  @Test("Paths equal those that a simple implementation computes name by name")
  func reference() {
    #expect(
      failures { pairs in
        let names = Set(pairs.map(\.name))
        return pairs.allSatisfy { $0.path == ReferenceEncoder.path(of: $0.name, among: names) }
      } == [])
  }

  @Test("A name that is not a prefix of another one does not affect its path")
  func independent() {
    #expect(
      failures { pairs in
        pairs.allSatisfy { pair in
          let own = pairs.map(\.name).filter { pair.name.starts(with: $0) }
          return PathEncoder.paths(of: own).last?.path == pair.path
        }
      } == [])
  }
}
