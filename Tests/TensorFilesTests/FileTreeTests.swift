import Fixtures
import Testing

@testable import Models
@testable import TensorFiles

@Suite("The files of a mount, listed without a mount", .serialized) struct FileTreeTests {
  @Test("Each file has its path in the tree and in each view, below its model's directory")
  func paths() throws {
    let file = SafetensorsFile(.init("a/b/c", "U8", [1]), .init("a/d", "F32", [1]), .init("a.x", "U8", [0]))
    func paths(_ sample: SampleModel, _ view: View) throws -> [String] {
      try FileTree(sample.collection).files(in: view).map { String(decoding: $0.path, as: UTF8.self) }
    }
    let sample = try SampleModel(file)
    #expect(try paths(sample, .raw) == ["a/b/c", "a/d", "a.x", "metadata.json"])
    #expect(try paths(sample, .npy) == ["a/b/c.npy", "a/d.npy", "a.x.npy", "metadata.json.npy"])
    let ranks = try SampleModel(
      [("rank0.safetensors", file), ("rank1.safetensors", file)], asDirectory: true)
    #expect(
      try paths(ranks, .f32).suffix(4) == ["rank1/a/b/c", "rank1/a/d", "rank1/a.x", "rank1/metadata.json"])
  }

  @Test("Listing a name of many directories takes time linear in their number")
  func depth() throws {
    let costs = try Costs(from: 20_000) { depth in
      let name = String(repeating: "a/", count: depth) + "b"
      let tree = try FileTree(SampleModel(SafetensorsFile(.init(name, "U8", [0]))).collection)
      #expect(tree.files(in: .raw).map(\.path.count).max() == 2 * depth + 1)
    }
    #expect(costs.areProportional, "\(costs)")
  }
}
