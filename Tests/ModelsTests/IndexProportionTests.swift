import Fixtures
import Glibc
import SystemPackage
import Testing

@testable import Models
@testable import Safetensors

@Suite("Time in proportion to an index", .serialized) struct IndexProportionTests {
  /// The seconds of this thread's processor that opening an index takes whose `count` tensors all cannot be shown.
  private func seconds(_ count: Int) throws -> Double {
    let directory = try TemporaryDirectory()
    var file = TorchFile()
    let wide = file.addStorage("ComplexDouble", count: 1)
    let names = (0..<count).map { "t\($0)" }
    file.object = .pairs(names.map { (.string($0), file.view(of: wide, [1])) })
    try directory.write("pytorch_model-00001-of-00001.bin", file)
    let index = try directory.write(
      "pytorch_model.bin.index.json",
      ShardIndex(names.map { ($0, "pytorch_model-00001-of-00001.bin") }))
    func now() -> Double {
      var time = timespec()
      unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
    let start = now()
    let model = try #require(try ModelCollection(opening: [index]).components.first?.model)
    let end = now()
    #expect(model.omitted.count == count && model.places.isEmpty)
    return end - start
  }

  @Test("Four times as many tensors that cannot be shown take about four times as long")
  func omitted() throws {
    let (first, second, third) = (try seconds(1000), try seconds(2000), try seconds(4000))
    // A quadratic search would take sixteen times as long.
    #expect(third < 9 * first, "\(first), \(second) and \(third) s")
  }
}
