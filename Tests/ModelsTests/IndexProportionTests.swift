import Fixtures
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("Time is proportional to an index", .serialized) struct IndexProportionTests {
  @Test("Tensors that cannot be shown take time linear in their number")
  func omitted() throws {
    let directories = try [1000, 2000, 4000].map { (count: $0, directory: try index($0)) }
    let costs = try Costs(from: 1000) { count in
      let directory = try #require(directories.first { $0.count == count }?.directory)
      let index = directory.path.appending("pytorch_model.bin.index.json")
      let model = try #require(try ModelCollection(opening: [index]).components.first?.model)
      #expect(model.omitted.count == count && model.places.isEmpty)
    }
    #expect(costs.areProportional, "\(costs)")
  }

  @Test("Missing components of a pipeline take time linear in their number")
  func pipeline() throws {
    // With so many components, a comparison of all pairs takes longer than reading them.
    let directories = try [10_000, 20_000, 40_000].map { count in
      let directory = try TemporaryDirectory()
      try directory.write("unet/model.safetensors", SafetensorsFile(.init("w", "U8", [1])))
      for number in 0..<count / 10 { try directory.write("file\(number)", []) }
      let lists = (0..<count).map { #","l\#($0)":["d","MultiControlNetModel"]"# }.joined()
      try directory.write("model_index.json", text: #"{"unet":["diffusers","UNet2DModel"]\#(lists)}"#)
      return (count: count, directory: directory)
    }
    let costs = try Costs(from: 10_000) { count in
      let directory = try #require(directories.first { $0.count == count }?.directory)
      let collection = try ModelCollection(opening: [directory.path])
      #expect(collection.warnings.contains { $0.contains("names \(count) components missing here") })
    }
    #expect(costs.areProportional, "\(costs)")
  }

  /// An index of `count` tensors, all of which are omitted.
  private func index(_ count: Int) throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    var file = TorchFile()
    let wide = file.addStorage("ComplexDouble", count: 1)
    let names = (0..<count).map { "t\($0)" }
    file.object = .pairs(names.map { (.string($0), file.view(of: wide, [1])) })
    try directory.write("pytorch_model-00001-of-00001.bin", file)
    try directory.write(
      "pytorch_model.bin.index.json", ShardIndex(names.map { ($0, "pytorch_model-00001-of-00001.bin") }))
    return directory
  }
}
