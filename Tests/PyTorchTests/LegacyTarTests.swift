import Fixtures
import Testing

@testable import PyTorch

@Suite("Tar files of PyTorch before 0.1.10") struct LegacyTarTests {
  private static var sound: TorchTar {
    var file = TorchTar()
    file.addStorage(5000, "Float", Array(0..<48))
    file.addStorage(1 << 40, "Half", Array(100..<112))
    file.views = [[7000, 5000, 4, 6]]
    file.object = .ordered([
      "w": file.tensor(9000, of: 5000, [2, 3], strides: [3, 1]),
      "t": file.tensor(9001, of: 5000, [3, 2], strides: [1, 3], offset: 1),
      "h": file.tensor(9002, of: 1 << 40, [6], strides: [1]),
      "v": file.tensor(9003, of: 7000, [2], strides: [2], offset: 1),
    ])
    return file
  }

  @Test("A tar file shows the tensors, storage views and strides of its tables")
  func tensors() throws {
    let file = Self.sound
    let read = try read(file.bytes)
    #expect(read.names == ["w", "t", "h", "v"])
    let bytes = file.bytes
    #expect(
      read.tensors.map { Array(bytes[Int($0.range.lowerBound)..<Int($0.range.upperBound)]) } == [
        Array(0..<24), Array(4..<28), Array(100..<112), Array(20..<32),
      ])
    #expect(read.tensors.map(\.isContiguous) == [true, false, true, false])
    #expect(read.tensors.map(\.type) == [.float32, .float32, .float16, .float32])
  }

  @Test("A storage that is not a tensor's is omitted, and a missing file in the archive is an error")
  func references() throws {
    var file = Self.sound
    file.object = .dictionary(["s": .persistent(.int(5000))])
    #expect(try read(file.bytes).omissions.map(\.reason) == [.bareStorage])
    file.object = .dictionary(["x": .persistent(.int(1))])
    #expect(refusal(of: file.bytes)?.text == "is missing from the archive")
  }

  @Test("Big-endian tar files, and tensors and views that exceed their storage, are refused")
  func refused() {
    var big = Self.sound
    big.isLittleEndian = false
    #expect(refusal(of: big.bytes)?.problem == .bigEndian)
    var views = Self.sound
    views.views = [[7000, 5000, 4, 9]]
    #expect(refusal(of: views.bytes)?.text == "has a storage view that exceeds its storage")
    var far = Self.sound
    far.object = .list([far.tensor(1, of: 5000, [13], strides: [1])])
    #expect(refusal(of: far.bytes)?.text?.hasPrefix("exceeds its storage") == true)
  }

  @Test("An archive with a missing or duplicate file, or truncated anywhere, is refused")
  func cut() {
    let files = Self.sound.files
    for index in files.indices {
      var changed = files
      let removed = changed.remove(at: index)
      #expect(refusal(of: TorchTar.archive(changed)) != nil)
      #expect(refusal(of: TorchTar.archive(files + [removed])) != nil)
    }
    let bytes = Self.sound.bytes
    // The last file is shorter than its block, and readers do not need the rest of the block.
    for end in stride(from: 16, to: bytes.count - 1024 - 512, by: 97) {
      #expect(refusal(of: Array(bytes[..<end])) != nil, "\(end)")
    }
  }
}
