import Fixtures
import SystemPackage
import Testing

import Linux
@testable import Models
import Safetensors
@testable import TensorFiles

@Suite("File layouts") struct FileLayoutTests {
  /// Computed bytes, each of which depends on its position.
  private struct Pattern: ComputedElements {
    let bytes: [UInt8]
    var byteCount: UInt64 { UInt64(bytes.count) }
    func sources(of range: Range<UInt64>) -> [FileRange] { [] }
    func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {
      for place in 0..<target.byteCount {
        target.storeBytes(of: bytes[Int(offset) + place], toByteOffset: place, as: UInt8.self)
      }
    }
  }

  @Test(
    "Any part of a layout equals that part of its segments in one array",
    arguments: 0..<20 as Range<UInt64>
  )
  func windows(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let contents = (0..<3000).map { _ in UInt8.random(in: 0 ... .max, using: &generator) }
    let directory = try TemporaryDirectory()
    let file = try SourceFile(opening: directory.write("source", contents))
    var plain: [UInt8] = []
    var segments: [FileLayout.Segment] = []
    for _ in 0..<Int.random(in: 0...12, using: &generator) {
      let start = Int.random(in: 0...contents.count, using: &generator)
      let end = Int.random(in: start...min(contents.count, start + 500), using: &generator)
      let bytes = contents[start..<end]
      plain += bytes
      switch Int.random(in: 0..<3, using: &generator) {
      case 0: segments.append(.memory(bytes))
      case 1: segments.append(.file(FileRange(UInt64(start)..<UInt64(end), of: file)))
      default: segments.append(.computed(Pattern(bytes: Array(bytes))))
      }
    }
    let layout = try #require(FileLayout(segments))
    #expect(layout.byteCount == UInt64(plain.count))
    try layout.expectWindows(of: plain, &generator)
  }

  @Test("Contiguous ranges of a source file become one segment, and others do not")
  func neighbours() throws {
    let directory = try TemporaryDirectory()
    let file = try SourceFile(opening: directory.write("a", Array(0..<100)))
    let other = try SourceFile(opening: directory.write("b", Array(0..<100)))
    func part(_ range: Range<UInt64>, _ file: SourceFile) -> FileLayout.Segment {
      .file(FileRange(range, of: file))
    }
    let layout = try #require(
      FileLayout([
        part(0..<10, file), part(10..<10, file), part(10..<30, file), part(30..<40, other),
        part(50..<60, other),
      ]))
    #expect(layout.segments.map(\.byteCount) == [30, 10, 10])
    #expect(layout.sources(of: 29..<31).map(\.range) == [29..<30, 30..<31])
  }

  @Test("A layout that exceeds the maximum size of a file is refused")
  func tooLarge() throws {
    struct Vast: ComputedElements {
      let byteCount: UInt64
      func sources(of range: Range<UInt64>) -> [FileRange] { [] }
      func fill(_ target: inout MutableRawSpan, from offset: UInt64) throws(Errno) {}
    }
    let limit = UInt64(Int64.max)
    #expect(FileLayout([.computed(Vast(byteCount: limit))])?.byteCount == limit)
    #expect(FileLayout([.memory([1]), .computed(Vast(byteCount: limit))]) == nil)
    #expect(FileLayout([.computed(Vast(byteCount: .max)), .computed(Vast(byteCount: .max))]) == nil)
  }

  @Test("A read is clamped to the file's end")
  func clamping() {
    let layout = FileLayout([1, 2, 3])
    #expect(layout.clamp(1, 10) == 1..<3)
    #expect(layout.clamp(3, 1) == 3..<3)
    #expect(layout.clamp(.max, .max) == 3..<3)
    #expect(layout.clamp(0, -1) == 0..<0)
  }
}

extension FileLayout {
  /// The bytes of a range.
  func bytes(_ range: Range<UInt64>) throws -> [UInt8] {
    try [UInt8](filling: range.count) { target throws(Errno) in try fill(&target, from: range.lowerBound) }
  }

  /// Compares ranges of all sizes with the same ranges of `whole`, at any alignment of the target in memory. Also compares the parts
  /// that the layout reports for them.
  func expectWindows(of whole: [UInt8], _ generator: inout SeededGenerator) throws {
    #expect(byteCount == UInt64(whole.count))
    for _ in 0..<100 {
      let lower = Int.random(in: 0...whole.count, using: &generator)
      let upper = Int.random(in: lower...whole.count, using: &generator)
      let range = UInt64(lower)..<UInt64(upper)
      let shift = Int.random(in: 0..<9, using: &generator)
      let shifted = try [UInt8](filling: shift + range.count) { target throws(Errno) in
        for place in 0..<shift { target.storeBytes(of: 0xAA, toByteOffset: place, as: UInt8.self) }
        var slot = target._mutatingExtracting(shift..<shift + range.count)
        try fill(&slot, from: range.lowerBound)
      }
      #expect(shifted.dropFirst(shift).elementsEqual(whole[lower..<upper]), "\(range)")
      #expect(parts(of: range).reduce(0) { $0 + $1.range.count } == range.count)
    }
  }
}
