import Conformance
import Fixtures

@testable import Models
@testable import Safetensors
@testable import TensorFiles
@testable import TensorFS

/// What is written about a header's tensors: metadata.json, and the headers of views. An input is a header.
enum DocumentFuzzer: FuzzTarget {
  static var seeds: [[UInt8]] {
    ConformanceCase.all.compactMap {
      if case .accepted = $0.verdict { Array($0.bytes.dropFirst(Int(HeaderPrefix.size))) } else { nil }
    }
  }

  static var words: [String] { HeaderFuzzer.words }

  /// The largest data, in bytes; none of them are written.
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
      let writer = HeaderWriter(metadata: header.metadata)
      var chance = generator(for: input)
      for index in 0..<header.count {
        for view in View.all { check(view, of: header[index], header, writer, &chance) }
      }
    } catch {
      fatalError("a sound model is refused: \(error)")
    }
  }

  /// metadata.json is JSON, and this project's own reader finds the same tensors in it.
  private static func checkDocument(of model: Model) {
    let bytes = MetadataDocument.bytes(of: model)
    require((try? JSONValue(parsing: bytes)) != nil, "metadata.json is no JSON")
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

  /// A view's header is read back as what it is of, and is the same in whatever parts it is read.
  private static func check(
    _ view: View, of tensor: Tensor, _ header: Header, _ writer: HeaderWriter, _ chance: inout SeededGenerator
  ) {
    guard let encoding = view.encode(tensor, writer) else { return }
    let whole = encoding.headerBytes(in: 0..<encoding.byteCount)
    require(UInt64(whole.count) == encoding.headerCount, "a header has another size than it says")
    for _ in 0..<4 {
      let start = UInt64.random(in: 0...encoding.byteCount, using: &chance)
      let end = UInt64.random(in: start...encoding.byteCount, using: &chance)
      let part = encoding.headerBytes(in: start..<end)
      require(
        part.elementsEqual(whole.dropFirst(Int(start)).prefix(Int(end - start))), "a part of a header differs"
      )
      require(
        UInt64(part.count) + UInt64(encoding.dataRange(in: start..<end).count) == end - start,
        "header and data do not make what was asked for")
    }
    switch view.number {
    case View.npy.number: checkArray(whole, encoding, tensor)
    case View.safetensors.number: checkModel(whole, encoding, tensor, header)
    default: require(whole.isEmpty, "a file without a header has one")
    }
  }

  private static func checkArray(_ header: [UInt8], _ encoding: Encoding, _ tensor: Tensor) {
    do {
      let array = try NPYArray(size: encoding.byteCount) { offset, count in
        Array(header[Int(offset)..<Int(offset) + count])
      }
      require(
        array.shape[...] == tensor.shape && array.dtype == (encoding.widening == nil ? tensor.dtype : .f32)
          && array.dataRange == encoding.headerCount..<encoding.byteCount, "an array is not what it is of")
    } catch {
      fatalError("an array is refused: \((error as? NPYError)?.problem ?? "\(error)")")
    }
  }

  private static func checkModel(_ bytes: [UInt8], _ encoding: Encoding, _ tensor: Tensor, _ header: Header) {
    guard let own = try? Header(json: bytes.span.extracting(droppingFirst: 8), fileSize: encoding.byteCount)
    else {
      fatalError("a tensor's own model is refused")
    }
    require(
      own.count == 1 && own[0].name == tensor.name && own[0].dtype == tensor.dtype
        && own[0].shape == tensor.shape
        && own.dataStart == encoding.headerCount, "a tensor's own model is of another")
    require(
      own.metadata.elementsEqual(header.metadata) { $0.key == $1.key && $0.value == $1.value },
      "a tensor's own model has other metadata")
  }
}
