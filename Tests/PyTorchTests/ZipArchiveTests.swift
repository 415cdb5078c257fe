import Fixtures
import SystemPackage
import Testing

@testable import PyTorch

/// Archives that two readers see differently. Each is a known way to deceive a scanner of models.
@Suite("Hostile archives") struct ZipArchiveTests {
  private static let payload = PickledValue.call(.global("posix", "system"), [.string("touch /tmp/x")])

  private static var sound: ZipFile {
    var file = TorchFile()
    file.object = .dictionary(["w": file.tensor("Float", [4])])
    return file.archive
  }

  /// A way to deceive a scanner: its description, and the change of a valid archive.
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let change: @Sendable (inout ZipFile) -> Void

    init(_ description: String, _ change: @escaping @Sendable (inout ZipFile) -> Void) {
      testDescription = description
      self.change = change
    }

    static func entry(
      _ description: String, _ name: String = "archive/data.pkl",
      _ change: @escaping @Sendable (inout ZipFile.Entry) -> Void
    ) -> Case { Case(description) { $0.change(name, change) } }
  }

  static let cases: [Case] = [
    .entry("a checksum that is wrong: scanners gave up on the file, PyTorch loaded it") {
      $0.checksum ^= 1
      $0.descriptor =
        Array("PK\u{7}\u{8}".utf8) + [0, 0, 0, 0] + Array($0.contents.count.bytes) + $0.contents.count.bytes
    },
    .entry("a checksum that is wrong in both headers alike") {
      $0.flags = 1 << 11
      $0.checksum ^= 1
    },
    .entry("the flag of encryption, which made a scanner skip the entry") { $0.flags |= 1 },
    .entry("the flag of encryption in the local header alone") { $0.localFlags = $0.flags | 1 },
    .entry("the flag of encryption in the central directory alone") {
      $0.localFlags = $0.flags
      $0.flags |= 1
    },
    .entry("the flag of masked headers") { $0.flags |= 1 << 13 },
    .entry("the flag of patched data") { $0.flags |= 1 << 5 },
    .entry("another name in the local header: scanners read that one, PyTorch the other") {
      $0.localName = Array("archive/xxxx.pkl".utf8)
    },
    .entry("a compressed pickle") { $0.method = 8 },
    .entry("a method that nobody has") { $0.method = 99 },
    .entry("a method in the local header alone") { $0.localMethod = 8 },
    .entry("a size in the local header that differs") { $0.localSize = 3 },
    .entry("a size in the central directory that differs") { $0.centralSize = 3 },
    .entry("a size in the central directory beyond the file") { $0.centralSize = 0x7FFF_FFFF },
    .entry("a size of all ones without its 64 bits") { $0.centralSize = 0xFFFF_FFFF },
    .entry("a checksum in the local header that differs") { $0.localChecksum = 7 },
    .entry("a place in the central directory that is no header") { $0.centralOffset = 5 },
    .entry("a place beyond the file") { $0.centralOffset = 0x7FFF_FFFF },
    .entry("a descriptor that says something else") { $0.descriptor = [UInt8](repeating: 0, count: 16) },
    .entry("no descriptor, though it is announced") { $0.descriptor = [] },
    .entry("bytes between two entries, in which a streaming reader finds a third") {
      $0.gap = ZipFile([.init("archive/data.pkl", payload.pickle)]).bytes
    },
    .entry("a second name in the extra field, which some readers prefer") {
      $0.centralExtra = [0x75, 0x70, 6, 0, 1, 0, 0, 0, 0, 0x61]
    },
    .entry("a second name in the local extra field") {
      $0.localExtra = [0x75, 0x70, 6, 0, 1, 0, 0, 0, 0, 0x61]
    },
    .entry("an extra field that is no row of blocks") { $0.centralExtra = [1, 2, 3] },
    .entry("64 bits that nobody asked for") { $0.centralExtra = [1, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0] },
    .entry("two pickles in a row: scanners stopped after the first") {
      $0 = .init("archive/data.pkl", $0.contents + payload.pickle)
    },
    .entry("a byte after the pickle") { $0 = .init("archive/data.pkl", $0.contents + [0]) },
    .entry("a pickle without its end") { $0 = .init("archive/data.pkl", $0.contents.dropLast()) },
    .entry("a name that is absolute") { $0.name = Array("/archive/data.pkl".utf8) },
    .entry("a name that goes up", "archive/version") { $0.name = Array("archive/../version".utf8) },
    .entry("a name with backslashes", "archive/version") { $0.name = Array("archive/..\\version".utf8) },
    .entry("a name with NUL, where C ends it", "archive/version") { $0.name += [0, 0x78] },
    .entry("a name without a directory", "archive/version") { $0.name = Array("version".utf8) },
    .entry("a compressed storage", "archive/data/0") { $0.method = 8 },
    .entry("a checksum of the byte order that is wrong", "archive/byteorder") { $0.checksum ^= 1 },
    .entry("another byte order", "archive/byteorder") { $0 = .init("archive/byteorder", "middle".utf8) },
    Case("two entries of one name: readers take the first or the last") {
      $0.entries.insert(.init("archive/data.pkl", payload.pickle), at: 1)
    },
    Case("two entries whose names differ by case: PyTorch takes either for the other") {
      $0.entries.append(.init("archive/BYTEORDER", "big".utf8))
    },
    .entry("a name in capitals, which PyTorch takes for its own", "archive/byteorder") {
      $0 = .init("archive/BYTEORDER", "big".utf8)
    },
    .entry("an attribute of directories, whose contents PyTorch does not read", "archive/data/0") {
      $0.attributes = 0x10
    },
    Case("a directory with contents") { $0.entries.append(.init("archive/data/", [1])) },
    Case("a directory that goes up") { $0.entries.append(.init("archive/../", [])) },
    Case("two directories with a data.pkl each") {
      $0.entries.append(.init("other/data.pkl", payload.pickle))
    },
    Case("a script before the archive: it runs as one thing and loads as another") {
      $0.prefix = Array("#!/bin/sh\ntouch /tmp/x\n".utf8)
    },
    Case("an archive before the archive") {
      $0.prefix = ZipFile([.init("archive/data.pkl", payload.pickle)]).bytes
    },
    Case("a comment, in which there may be another end") { $0.comment = Array("PK\u{5}\u{6}".utf8) },
    Case("an end that counts fewer entries than there are") { $0.wideCount = 1 },
    Case("two ends that do not count alike") { $0.count = 1 },
    Case("an end that counts 2^63 entries") {
      $0.wideCount = 1 << 63
      $0.count = 0xFFFF
    },
    Case("no entry at all") { $0.entries = [] },
    Case("one entry inside of another") {
      // In an archive of stored entries, the last entry claims to reach over the bytes after it.
      $0.change("archive/data/0") { $0.centralSize = 0x120 }
    },
  ]

  @Test("An archive that zip readers see differently is refused", arguments: cases)
  func refused(_ hostile: Case) {
    var archive = Self.sound
    #expect(refusal(of: archive.bytes) == nil)
    hostile.change(&archive)
    #expect(refusal(of: archive.bytes) != nil)
  }

  @Test("Harmless variants of other writers are accepted")
  func accepted() throws {
    var archive = Self.sound
    archive.hasWideEnd = false
    for index in archive.entries.indices { archive.entries[index].flags = 0 }
    #expect(try read(archive.bytes).names == ["w"])
    // TorchScript's code may be compressed, because this reader does not read it.
    var code = ZipFile.Entry("archive/code/x.py", [1, 2, 3])
    code.method = 8
    archive.entries.append(code)
    archive.entries.append(.init("archive/.data/serialization_id", "1".utf8))
    #expect(try read(archive.bytes).names == ["w"])
  }

  @Test("Repacked archives are accepted, with directories, macOS files and any order of entries")
  func zippedAnew() throws {
    var archive = Self.sound
    archive.hasWideEnd = false
    for index in archive.entries.indices { archive.entries[index].flags = 0 }
    var directory = ZipFile.Entry("archive/", [])
    directory.attributes = 0x41ED_0010
    archive.entries.insert(directory, at: 0)
    archive.entries.append(.init("archive/data/", []))
    archive.entries.append(.init("__MACOSX/archive/._data.pkl", [1]))
    archive.entries.append(.init("archive/.DS_Store", [1]))
    #expect(try read(archive.bytes).names == ["w"])
    archive.entries.reverse()
    #expect(try read(archive.bytes).names == ["w"])
    // bsdtar writes the sizes into the local header and after the contents.
    for index in archive.entries.indices where !archive.entries[index].contents.isEmpty {
      archive.entries[index].flags = 1 << 3
      archive.entries[index].localSize = UInt32(archive.entries[index].contents.count)
    }
    #expect(try read(archive.bytes).names == ["w"])
  }

  @Test("A checksum of 0 is not verified (torch.serialization.set_crc32_options(False))")
  func withoutChecksums() throws {
    var archive = Self.sound
    for index in archive.entries.indices { archive.entries[index].checksum = 0 }
    #expect(try read(archive.bytes).names == ["w"])
  }

  @Test("A compressed pickle or storage is refused with the entry's name")
  func compressed() {
    for name in ["archive/data.pkl", "archive/data/0", "archive/byteorder"] {
      var archive = Self.sound
      archive.change(name) { $0.method = 8 }
      #expect(refusal(of: archive.bytes)?.problem == .compressed(entry: Array(name.utf8)))
      // zip -9 sets this flag, and method 14 is LZMA.
      archive.change(name) { $0.flags |= 1 << 1 }
      #expect(refusal(of: archive.bytes)?.problem == .compressed(entry: Array(name.utf8)))
      archive.change(name) { $0.method = 14 }
      #expect(refusal(of: archive.bytes)?.problem == .compressed(entry: Array(name.utf8)))
      archive.change(name) { $0.method = 8 }
      // libarchive writes the size that it knows, and 0 for the other size.
      archive.change(name) { ($0.localSize, $0.localStoredSize) = (UInt32($0.contents.count), 0) }
      #expect(refusal(of: archive.bytes)?.problem == .compressed(entry: Array(name.utf8)))
    }
  }

  @Test(
    "Storages of 4 GiB and more are read, with the 64-bit sizes that PyTorch writes into local headers",
    arguments: [0, 1])
  func large(zeros: Int) throws {
    // The local header, the central directory header and the descriptor have the size of contents that are not in
    // memory.
    let size: UInt64 = 1 << 32 + 4
    let wide = size.bytes + (zeros == 1 ? UInt64(0) : size).bytes
    var entry = ZipFile.Entry("archive/data/0", [])
    entry.flags = 1 << 11 | 1 << 3
    entry.localExtra = [1, 0, 16, 0] + wide
    entry.centralSize = .max
    entry.centralExtra = [1, 0, 16, 0] + size.bytes + size.bytes
    entry.descriptor = Array("PK\u{7}\u{8}".utf8) + [0, 0, 0, 0] + size.bytes + size.bytes
    entry.checksum = 0
    var file = TorchFile()
    let storage = file.addStorage("Byte", count: 0)
    let id: [PickledValue] = [
      .string("storage"), .global("torch", "ByteStorage"), .string("\(storage)"), .string("cpu"),
      .int(Int(size)),
    ]
    file.object = .dictionary([
      "w": .call(
        .global("torch._utils", "_rebuild_tensor_v2"),
        [
          .persistent(.tuple(id)), .int(Int(size) - 1), .tuple([.int(1)]), .tuple([.int(1)]), .bool(false),
          .ordered([:]),
        ])
    ])
    var archive = file.archive
    archive.entries.removeAll { $0.name == entry.name }
    archive.entries.append(entry)
    archive.hasWideEnd = true
    let source = SparseSource(archive.bytes, hole: size, at: archive.offset(of: "archive/data/0"))
    let tensor = try #require(try PyTorchFile(source, form: .archive).tensors.first)
    #expect(tensor.range.lowerBound == UInt64(archive.offset(of: "archive/data/0")) + size - 1)
  }

  @Test("An archive inside an archive, or one without a model, is reported as having no data.pkl")
  func nested() {
    let inner = ZipFile([.init("archive/data.pkl", Self.payload.pickle)]).bytes
    for entries: [ZipFile.Entry] in [
      [.init("model.pt", inner)], [.init("data.pkl", Self.payload.pickle)],
      [.init("a/b/data.pkl", Self.payload.pickle)],
      [.init("x.npy", [1])],
    ] {
      #expect(refusal(of: ZipFile(entries).bytes)?.problem == .noPickle)
    }
  }

  @Test("A truncated archive, and one with a changed byte in a zip header, are refused")
  func cut() {
    let bytes = Self.sound.bytes
    for end in stride(from: 4, to: bytes.count, by: 3) {
      #expect(refusal(of: Array(bytes[..<end])) != nil, "\(end)")
    }
    for extra in 1...30 { #expect(refusal(of: bytes + [UInt8](repeating: 0, count: extra)) != nil) }
  }

  @Test("No changed byte crashes the reader", arguments: [false, true], 0..<4 as Range<UInt64>)
  func fuzz(isLegacy: Bool, seed: UInt64) {
    var file = TorchFile(isLegacy: isLegacy)
    file.object = .ordered([
      "w": file.tensor("Float", [2, 2]), "l": .list([file.tensor("Long", [1]), .string("x")]),
    ])
    let sound = file.bytes
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<1000 {
      var bytes = sound
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        bytes[Int.random(in: 4..<bytes.count, using: &generator)] =
          generator.oneIn(2)
          ? .random(in: 0...255, using: &generator)
          : [0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &generator) ?? 0
      }
      // Every accepted tensor is inside the file.
      guard let read = try? read(bytes) else { continue }
      #expect(read.tensors.allSatisfy { $0.range.upperBound <= UInt64(bytes.count) })
    }
  }
}

extension Int {
  fileprivate var bytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: self >> (8 * $0)) } }
}

extension UInt64 {
  fileprivate var bytes: [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: self >> (8 * $0)) } }
}

/// Bytes with a gap of zeros that is not in memory. The records at the end of the archive count the gap.
private struct SparseSource: ByteSource {
  private var bytes: [UInt8]
  private let hole: UInt64
  private let start: Int

  init(_ bytes: [UInt8], hole: UInt64, at start: Int) {
    (self.bytes, self.hole, self.start) = (bytes, hole, start)
    // These 64-bit offsets, of the central directory and of its end record, must count the gap.
    let end64 = bytes.count - 22 - 20 - 56
    for position in [end64 + 48, bytes.count - 22 - 20 + 8] {
      let number = littleEndian(bytes, at: position, count: 8) + hole
      self.bytes.replaceSubrange(position..<position + 8, with: number.bytes)
    }
    self.bytes.replaceSubrange(bytes.count - 6..<bytes.count - 2, with: [0xFF, 0xFF, 0xFF, 0xFF])
  }

  var size: UInt64 { UInt64(bytes.count) + hole }

  func read(from offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    (offset..<offset + UInt64(count)).map { position in
      if position < UInt64(start) { return bytes[Int(position)] }
      return position < UInt64(start) + hole ? 0 : bytes[Int(position - hole)]
    }
  }
}
