import Fixtures
import Logging
import SystemPackage
import Testing

@testable import FUSE
@testable import Linux
@testable import Models
import Safetensors
@testable import TensorFiles
@testable import TensorFS

/// Tests without a mount. Reads need a request of the kernel, so the tests of mounts cover them.
@Suite("The file system's names and attributes") struct TensorFileSystemTests {
  private static let file = SafetensorsFile(
    .init("a/b", "F32", [2, 3]), .init("a/c/d", "U8", [0]), .init("e", "I8", [1000]))

  private func fileSystem(_ sample: SampleModel, _ options: MountOptions = MountOptions()) throws
    -> TensorFileSystem
  {
    try TensorFileSystem(sample.collection, options: options, log: Logger(label: "test"))
  }

  /// Lists a directory as the kernel does: repeatedly, with buffers of `size` bytes, until nothing comes.
  private func list(
    _ inode: InodeNumber, of fileSystem: TensorFileSystem, size: Int, withAttributes: Bool = false,
    from start: UInt64 = 0
  ) throws -> [Listing.Entry] {
    // libfuse passes the pointer on and does not use it: fuse_add_direntry(3).
    let request = unsafe try #require(OpaquePointer(bitPattern: 8))
    var entries: [Listing.Entry] = []
    var position = start
    while true {
      var buffer = unsafe DirectoryBuffer(for: request, size: size, withAttributes: withAttributes)
      try fileSystem.list(inode, from: position, into: &buffer)
      let bytes = unsafe buffer.bytes.withUnsafeBytes { unsafe Array($0) }
      let part = Listing(bytes, withAttributes: withAttributes)
      guard let last = part.entries.last else { return entries }
      entries += part.entries
      position = last.next
    }
  }

  @Test("A tensor is found by its path, with its size, kind and links")
  func lookups() throws {
    let fileSystem = try fileSystem(SampleModel(Self.file))
    let tensor = try #require(try fileSystem.lookup(path: "a/b"))
    #expect(tensor.kind == .file)
    #expect(tensor.size == 24)
    #expect(tensor.linkCount == 1)
    #expect(tensor.permissions == 0o444)
    #expect(try fileSystem.lookup(path: "a/c/d")?.size == 0)
    #expect(try fileSystem.lookup(path: "e")?.size == 1000)
    let directory = try #require(try fileSystem.lookup(path: "a"))
    #expect(directory.kind == .directory)
    #expect(directory.linkCount == 3)
    #expect(directory.permissions == 0o555)
    #expect(try fileSystem.lookup(path: "a/c")?.linkCount == 2)
    let root = try fileSystem.attributes(of: .root)
    #expect(root.kind == .directory && root.linkCount == 3 && root.inode == .root)
  }

  @Test("The size of metadata.json is the length of its text")
  func document() throws {
    let sample = try SampleModel(Self.file)
    let attributes = try #require(try fileSystem(sample).lookup(path: "metadata.json"))
    #expect(attributes.size == UInt64(MetadataDocument.bytes(of: try sample.model).count))
    #expect(attributes.kind == .file && attributes.linkCount == 1)
  }

  @Test("A missing name is not found, without an error")
  func missing() throws {
    let fileSystem = try fileSystem(SampleModel(Self.file))
    for path in ["b", "a/a", "a/c/dd", "metadata.jso", "E", ".npz"] {
      #expect(try fileSystem.lookup(path: path) == nil, "\(path)")
    }
  }

  @Test(
    "A lookup of . finds the inode itself, even of a file, and .. its directory, in the tree and in views")
  func dots() throws {
    let fileSystem = try fileSystem(SampleModel(Self.file))
    for (path, parent) in [
      ("", ""), ("a", ""), ("a/b", "a"), ("a/c/d", "a/c"), ("e", ""), ("metadata.json", ""), (".npy", ""),
      (".npy/a", ".npy"), (".npy/a/b.npy", ".npy/a"),
    ] {
      let own = try #require(try fileSystem.lookup(path: path))
      #expect(try fileSystem.lookup(Array(".".utf8).span, in: own.inode)?.inode == own.inode, "\(path)")
      let above = try fileSystem.lookup(Array("..".utf8).span, in: own.inode)
      #expect(try above?.inode == fileSystem.lookup(path: parent)?.inode, "\(path)")
    }
    #expect(throws: Errno.staleNFSFileHandle) {
      try fileSystem.lookup(Array(".".utf8).span, in: InodeNumber(number: 1000))
    }
  }

  @Test("An unknown inode is ESTALE, and listing a file is ENOTDIR")
  func errors() throws {
    let fileSystem = try fileSystem(SampleModel(Self.file))
    for number in [0, 1000, UInt64(Int64.max), .max] as [UInt64] {
      let inode = InodeNumber(number: number)
      #expect(throws: Errno.staleNFSFileHandle) { try fileSystem.attributes(of: inode) }
      #expect(throws: Errno.staleNFSFileHandle) { try fileSystem.lookup([0x61].span, in: inode) }
      #expect(throws: Errno.staleNFSFileHandle) { try list(inode, of: fileSystem, size: 4096) }
    }
    for path in ["e", "metadata.json", "a/b"] {
      let file = try #require(try fileSystem.lookup(path: path))
      #expect(throws: Errno.notDirectory) { try fileSystem.lookup([0x61].span, in: file.inode) }
      #expect(throws: Errno.notDirectory) { try list(file.inode, of: fileSystem, size: 4096) }
    }
  }

  @Test("Lookups, attributes and listings agree on every inode")
  func agreement() throws {
    let names = HostileNames.names(seed: 11)
    let sample = try SampleModel(SafetensorsFile(names.map { .init(name: $0, "U8", [3]) }))
    let fileSystem = try fileSystem(sample)
    var seen: Set<UInt64> = [1]
    var directories = [InodeNumber.root]
    while let directory = directories.popLast() {
      for entry in try list(directory, of: fileSystem, size: 4096, withAttributes: true).dropFirst(2) {
        #expect(seen.insert(entry.inode).inserted)
        let found = try #require(try fileSystem.lookup(Array(entry.name.utf8).span, in: directory))
        let attributes = try fileSystem.attributes(of: found.inode)
        #expect(found.inode.number == entry.inode && attributes.inode == found.inode)
        #expect(found.size == attributes.size && entry.size == found.size)
        #expect(entry.type == (found.kind == .directory ? 4 : 8))
        if found.kind == .directory { directories.append(found.inode) }
      }
    }
    #expect(UInt64(seen.count) == fileSystem.statistics().inodes)
  }

  @Test("A listing begins with . and .., followed by sorted names")
  func listing() throws {
    let fileSystem = try fileSystem(SampleModel(Self.file))
    let root = try list(.root, of: fileSystem, size: 4096)
    #expect(root.map(\.name) == [".", "..", "a", "e", "metadata.json"])
    #expect(root.map(\.type) == [4, 4, 4, 8, 8])
    #expect(root.prefix(2).map(\.inode) == [1, 1])
    #expect(!root.map(\.next).contains(0))
    let a = try #require(try fileSystem.lookup(path: "a"))
    let c = try #require(try fileSystem.lookup(path: "a/c"))
    let inner = try list(c.inode, of: fileSystem, size: 4096)
    #expect(inner.map(\.name) == [".", "..", "d"])
    #expect(inner.prefix(2).map(\.inode) == [c.inode.number, a.inode.number])
  }

  @Test("Each entry is listed once, with buffers of any size", arguments: [false, true])
  func smallBuffers(withAttributes: Bool) throws {
    let names = (0..<300).map { String(repeating: "n", count: $0 % 200 + 1) + "\($0)" }
    let fileSystem = try fileSystem(SampleModel(names: names))
    let whole = try list(.root, of: fileSystem, size: 1 << 20, withAttributes: withAttributes)
    let sorted = (names + ["metadata.json"]).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    #expect(whole.dropFirst(2).map(\.name) == sorted)
    for size in [400, 401, 1000, 4096] {
      #expect(try list(.root, of: fileSystem, size: size, withAttributes: withAttributes) == whole)
    }
  }

  @Test("A listing can continue from any position, and from the last one returns nothing")
  func positions() throws {
    let fileSystem = try fileSystem(SampleModel(names: ["a", "b", "c"]))
    let whole = try list(.root, of: fileSystem, size: 4096)
    for (index, entry) in whole.enumerated() {
      #expect(try list(.root, of: fileSystem, size: 4096, from: entry.next) == Array(whole[(index + 1)...]))
    }
    for position in [100, UInt64(Int64.max), .max] as [UInt64] {
      #expect(try list(.root, of: fileSystem, size: 4096, from: position) == [])
    }
  }

  @Test("A name of 255 bytes is listed completely")
  func longName() throws {
    let name = String(repeating: "é", count: 127) + "x"
    let fileSystem = try fileSystem(SampleModel(names: [name]))
    let names = try list(.root, of: fileSystem, size: 4096).map(\.name)
    #expect(names == [".", "..", "metadata.json", name])
  }

  @Test("statfs counts every byte and every inode")
  func statistics() throws {
    let sample = try SampleModel(Self.file)
    let statistics = try fileSystem(sample).statistics()
    let document = UInt64(MetadataDocument.bytes(of: try sample.model).count)
    #expect(statistics.size == 1024 + document)
    // These are the root, a, a/c, three tensors and metadata.json.
    #expect(statistics.inodes == 7)
  }

  @Test("Owner, group and umask of the mount apply to every entry")
  func options() throws {
    var options = MountOptions()
    for option in ["uid=5", "gid=6", "umask=077"] { try options.add(option: option) }
    let fileSystem = try fileSystem(SampleModel(Self.file), options)
    let modes: KeyValuePairs<String, UInt32> = ["": 0o500, "a": 0o500, "a/b": 0o400, "metadata.json": 0o400]
    for (path, mode) in modes {
      let attributes = try #require(try fileSystem.lookup(path: path))
      #expect((attributes.owner, attributes.group, attributes.permissions) == (5, 6, mode))
    }
  }

  @Test("Each rank has its own mode and document, and the root has the intersection of their permissions")
  func ranks() throws {
    let directory = try TemporaryDirectory()
    try directory.write("rank0.safetensors", SafetensorsFile(.init("w", "U8", [1]))).setPermissions(0o640)
    try directory.write("rank1.safetensors", SafetensorsFile(.init("w", "U8", [2]))).setPermissions(0o604)
    let collection = try ModelCollection(opening: [directory.path])
    let fileSystem = try TensorFileSystem(collection, options: MountOptions(), log: Logger(label: "test"))
    let expected: [(String, UInt32, UInt64)] = [("rank0", 0o440, 1), ("rank1", 0o404, 2)]
    for (index, (rank, mode, size)) in expected.enumerated() {
      let tensor = try #require(try fileSystem.lookup(path: "\(rank)/w"))
      #expect((tensor.permissions, tensor.size) == (mode, size))
      let document = try #require(try fileSystem.lookup(path: "\(rank)/metadata.json"))
      #expect(document.permissions == mode)
      #expect(document.size == UInt64(MetadataDocument.bytes(of: collection.components[index].model).count))
      #expect(try fileSystem.lookup(path: rank)?.permissions == mode | mode >> 2)
    }
    let root = try fileSystem.attributes(of: .root)
    #expect(root.permissions == 0o500)
    #expect(root.linkCount == 4)
    #expect(try list(.root, of: fileSystem, size: 4096).map(\.name) == [".", "..", "rank0", "rank1"])
  }
}
