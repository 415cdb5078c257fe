import Testing

@testable import Safetensors

@Suite("Names of shards") struct ShardNameTests {
  @Test(
    "The usual patterns are recognised",
    arguments: [
      ("model-00001-of-00005.safetensors", "model-", 1, "00005", ".safetensors"),
      ("model.fp16-00001-of-00002.safetensors", "model.fp16-", 1, "00002", ".safetensors"),
      ("model.safetensors-00001-of-00001.safetensors", "model.safetensors-", 1, "00001", ".safetensors"),
      ("model_00002-of-00072.safetensors", "model_", 2, "00072", ".safetensors"),
      ("consolidated-00001-of-00051.safetensors", "consolidated-", 1, "00051", ".safetensors"),
      (
        "diffusion_pytorch_model-00003-of-00003.safetensors", "diffusion_pytorch_model-", 3, "00003",
        ".safetensors"
      ),
      ("1-of-2.safetensors", "", 1, "2", ".safetensors"),
      ("best-of-3-model-00001-of-00002.safetensors", "best-of-3-model-", 1, "00002", ".safetensors"),
      ("one-of-us-00001-of-00002-of-it.safetensors", "one-of-us-", 1, "00002", "-of-it.safetensors"),
    ])
  func patterns(_ name: String, _ prefix: String, _ number: Int, _ total: String, _ suffix: String) throws {
    let part = try #require(ShardName(Array(name.utf8)))
    #expect(part.split == ShardName.Split(prefix: prefix, totalDigits: total, suffix: suffix))
    #expect(part.split.name(of: number, width: part.numberWidth) == name)
    #expect(part.number == number)
  }

  @Test(
    "Other names are not parts of a split",
    arguments: [
      "model.safetensors", "rank0.safetensors", "best-of-three.safetensors", "king-of-00003.safetensors",
      "model-00001-of-.safetensors", "-of-", "of", "", "model-00001_of_00002.safetensors",
      "model-1-of-99999999999999999999.safetensors", "model-99999999999999999999-of-1.safetensors",
    ])
  func others(_ name: String) { #expect(ShardName(Array(name.utf8)) == nil) }

  @Test("Parts count from 1, or all from 0")
  func missingParts() {
    let split = ShardName.Split(prefix: "m-", totalDigits: "3", suffix: "")
    #expect(split.firstMissing(from: [1, 2, 3]) == nil)
    #expect(split.firstMissing(from: [0, 1, 2]) == nil)
    #expect(split.firstMissing(from: [1, 3]) == 2)
    #expect(split.firstMissing(from: [2, 3]) == 1)
    #expect(split.firstMissing(from: [0, 1]) == 2)
    #expect(split.firstMissing(from: []) == 1)
    let huge = ShardName.Split(prefix: "m-", totalDigits: "999999999", suffix: "")
    #expect(huge.firstMissing(from: [1, 2]) == 3)
    #expect(ShardName.Split(prefix: "m-", totalDigits: "0", suffix: "").firstMissing(from: [1]) == nil)
  }
}
