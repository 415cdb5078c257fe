import Fixtures
import SystemPackage

@testable import Models
@testable import PyTorch
@testable import Safetensors
@testable import TensorFiles

/// torch.save files in both forms: the archive, its pickles, and the tensors' bytes as they are read. If an input is neither, it is
/// a pickle that is put into an archive, because random bytes never have correct checksums.
enum ZipFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] {
    var seeds = PickleFuzzer.seeds
    for isLegacy in [false, true] {
      seeds += PickleFuzzer.files(isLegacy: isLegacy).map(\.bytes)
      var file = TorchFile(isLegacy: isLegacy)
      let storage = file.addStorage("Half", count: 40)
      file.object = .ordered([
        "transposed": file.view(of: storage, [4, 5], strides: [1, 4]),
        "wide": file.view(of: storage, offset: 3, [3, 2, 2], strides: [11, 0, 3]),
      ])
      seeds.append(file.bytes)
    }
    var archive = TorchFile(.none).archive
    archive.hasWideEnd = true
    seeds.append(archive.bytes)
    archive.change("archive/version") { $0.flags = 0 }
    seeds.append(archive.bytes)
    archive.change("archive/version") { $0.method = 8 }
    seeds.append(archive.bytes)
    seeds.append(
      ZipFile([
        .init("m/data.pkl", PickledValue.none.pickle),
        .init("m/constants.pkl", PickledValue.tuple([]).pickle),
      ]).bytes)
    return seeds
  }

  static var words: [String] {
    [
      "PK\u{1}\u{2}", "PK\u{3}\u{4}", "PK\u{5}\u{6}", "PK\u{6}\u{6}", "PK\u{6}\u{7}", "PK\u{7}\u{8}",
      "archive/", "data/0",
    ]
      + PickleFuzzer.words
  }

  /// An archive of a pickle, with storages for it.
  private static func archive(of pickle: [UInt8]) -> [UInt8] {
    let storages = (0..<4).map { ZipFile.Entry("a/data/\($0)", 24 * UInt8($0)..<24 * UInt8($0 + 1)) }
    return ZipFile([.init("a/data.pkl", pickle)] + storages).bytes
  }

  static func test(_ input: [UInt8]) {
    let isFile = PyTorchFile.form(of: input) != nil
    let input = isFile ? input : archive(of: input)
    guard let form = PyTorchFile.form(of: input) else { fatalError("an archive is not recognised") }
    let file: PyTorchFile
    do throws(FormatError) {
      file = try PyTorchFile(input, form: form)
    } catch {
      if let offset = error.offset { require(offset <= UInt64(input.count), "an error is past the end") }
      do throws(ModelError) {
        _ = try ModelError.translating("read", "model") { throw error }
      } catch { requirePrintable(error.description) }
      return
    }
    require(file.trailingBytes <= UInt64(input.count), "more bytes are left over than there are")
    for tensor in file.tensors { PickleFuzzer.check(tensor, fileSize: UInt64(input.count)) }
    readTensors(of: file, input)
  }

  /// Reads parts of the tensors through the file, as a mount does, and element by element.
  private static func readTensors(of file: PyTorchFile, _ bytes: [UInt8]) {
    let path = ScratchFile.write(bytes, size: bytes.count)
    let stored = Dictionary(grouping: file.tensors, by: \.name)
    do throws(ModelError) {
      let shard = try Shard(opening: path, lenient: true)
      guard shard.format == .pyTorch else { return }
      for omitted in shard.omitted { requirePrintable("\(omitted.name) \(omitted.reason)") }
      // Tensors that share a name are one tensor, are renamed, or are omitted together.
      let names = Set(file.tensors.map { Array($0.name) })
      require(
        shard.header.count + shard.omitted.count >= names.count, "tensors are missing")
      var chance = generator(for: bytes)
      for index in 0..<shard.header.count {
        let tensor = shard.header[index]
        guard let own = stored[tensor.name.utf8]?.first else {
          fatalError("\(tensor.name) is not stored")
        }
        require(
          shard.storedRange(of: tensor).map { $0.range.upperBound <= UInt64(bytes.count) } == true,
          "\(tensor.name) is not in its file")
        for _ in 0..<4 {
          let start = UInt64.random(in: 0...tensor.byteCount, using: &chance)
          let count = UInt64.random(in: 0...min(300, tensor.byteCount - start), using: &chance)
          do {
            require(
              try shard.read(tensor, start..<start + count)
                == (start..<start + count).map { bytes[Int(position(of: $0, in: own))] },
              "\(tensor.name) is read as other bytes than its own")
          } catch {
            fatalError("\(tensor.name) is not read: \(error)")
          }
        }
      }
    } catch {
      requirePrintable(error.description)
    }
  }

  /// The offset in the file of byte `offset` of a tensor.
  private static func position(of offset: UInt64, in tensor: StoredTensor) -> UInt64 {
    let width = tensor.type.byteCount
    var rest = offset / width
    var element: UInt64 = 0
    for (count, stride) in zip(tensor.shape, tensor.strides).reversed() {
      element += rest % count * stride
      rest /= count
    }
    return tensor.range.lowerBound + element * width + offset % width
  }
}
