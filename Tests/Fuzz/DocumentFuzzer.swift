import Conformance
import Fixtures
import SystemPackage

@testable import Linux
@testable import Models
@testable import Safetensors
@testable import TensorFiles

/// The writers of documents about a header's tensors: metadata.json, and the headers of views. An input is a header.
enum DocumentFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] {
    ConformanceCase.all.compactMap {
      if case .accepted = $0.verdict { Array($0.bytes.dropFirst(Int(HeaderPrefix.size))) } else { nil }
    }
  }

  static var words: [String] { HeaderFuzzer.words }

  /// The maximum size of the data, in bytes. No data is written.
  private static let maximumData: UInt64 = 1 << 30

  static func test(_ input: [UInt8]) {
    guard let header = HeaderFuzzer.header(of: input) else { return }
    let end = (0..<header.count).map { header[$0].dataRange.upperBound }.max() ?? 0
    guard end <= maximumData else { return }
    let length = (0..<8).map { UInt8(truncatingIfNeeded: input.count >> (8 * $0)) }
    let file = ScratchFile.write(length + input, size: length.count + input.count + Int(end))
    do {
      let collection = try ModelCollection(opening: [file])
      guard let model = collection.components.first?.model else { fatalError("there is no model") }
      checkDocument(of: model)
      let shard = model.shards[0]
      let writer = HeaderWriter(metadata: header.metadata)
      var chance = generator(for: input)
      for index in 0..<header.count {
        guard let raw = FileLayout(of: shard.header[index], in: shard) else { continue }
        for view in View.all { check(view, of: header[index], raw, header, writer, &chance) }
      }
    } catch {
      fatalError("a sound model is refused: \(error)")
    }
  }

  /// metadata.json must be JSON, and this project's own reader must find the same tensors in it.
  private static func checkDocument(of model: Model) {
    let bytes = MetadataDocument.bytes(of: model)
    require((try? JSONValue(parsing: bytes)) != nil, "metadata.json is not JSON")
    do throws(JSONError) {
      let document = try TensorDocument(reading: bytes.span)
      let tensors = model.places.map { model.tensor(at: $0) }
      require(
        document.entries.map(\.tensor).elementsEqual(tensors) {
          $0.name == $1.name && $0.dtype == $1.dtype && $0.shape == $1.shape && $0.byteCount == $1.byteCount
        }, "metadata.json has other tensors than the model")
      require(Set(document.entries.map(\.path)).count == tensors.count, "two tensors have one path")
      let metadata = model.shards[0].header.metadata
      require(
        document.metadata.first.map {
          $0.elementsEqual(metadata) { $0.key == $1.key && $0.value == $1.value }
        }
          ?? metadata.isEmpty, "metadata.json has other metadata than the model")
    } catch {
      fatalError("metadata.json is refused: \(error.problem)")
    }
  }

  /// A view's header must be read back correctly, and be the same in parts of any size.
  private static func check(
    _ view: View, of tensor: Tensor, _ raw: FileLayout, _ header: Header, _ writer: HeaderWriter,
    _ chance: inout SeededGenerator
  ) {
    guard let layout = view.layout(of: tensor, raw: raw, writer: writer) else { return }
    let size = view.suffix.isEmpty ? 0 : headerSize(of: layout, tensor)
    let whole = bytes(of: layout, 0..<size)
    for _ in 0..<4 {
      let start = UInt64.random(in: 0...size, using: &chance)
      let end = UInt64.random(in: start...size, using: &chance)
      require(
        bytes(of: layout, start..<end).elementsEqual(whole.dropFirst(Int(start)).prefix(Int(end - start))),
        "a part of a header differs")
    }
    switch view.number {
    case View.npy.number: checkArray(whole, layout, tensor)
    case View.safetensors.number: checkModel(whole, layout, tensor, header)
    default: break
    }
  }

  /// The number of bytes before the tensor's own bytes, which may be widened.
  private static func headerSize(of layout: FileLayout, _ tensor: Tensor) -> UInt64 {
    var size: UInt64 = 0
    for segment in layout.segments {
      switch segment {
      case .memory: size += segment.byteCount
      case .computed(let elements) where elements.sources(of: 0..<elements.byteCount).isEmpty:
        size += segment.byteCount
      default: return size
      }
    }
    return size
  }

  private static func bytes(of layout: FileLayout, _ range: Range<UInt64>) -> [UInt8] {
    do throws(Errno) {
      return try [UInt8](filling: range.count) { target throws(Errno) in
        try layout.fill(&target, from: range.lowerBound)
      }
    } catch {
      fatalError("a header cannot be read: \(error)")
    }
  }

  private static func checkArray(_ header: [UInt8], _ layout: FileLayout, _ tensor: Tensor) {
    do {
      let array = try NPYArray(size: layout.byteCount) { offset, count in
        Array(header[Int(offset)..<Int(offset) + count])
      }
      require(
        array.shape[...] == tensor.shape
          && array.dtype == (tensor.dtype.numPyName == nil ? .f32 : tensor.dtype)
          && array.dataRange == UInt64(header.count)..<layout.byteCount, "an array differs from its tensor")
    } catch {
      fatalError("an array is refused: \((error as? NPYError)?.problem ?? "\(error)")")
    }
  }

  private static func checkModel(_ bytes: [UInt8], _ layout: FileLayout, _ tensor: Tensor, _ header: Header) {
    guard let own = try? Header(json: bytes.span.extracting(droppingFirst: 8), fileSize: layout.byteCount)
    else {
      fatalError("a tensor's own model is refused")
    }
    require(
      own.count == 1 && own[0].name == tensor.name && own[0].dtype == tensor.dtype
        && own[0].shape == tensor.shape
        && own.dataStart == UInt64(bytes.count), "a tensor's own model is of another")
    require(
      own.metadata.elementsEqual(header.metadata) { $0.key == $1.key && $0.value == $1.value },
      "a tensor's own model has other metadata")
  }
}
