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

@Suite("The tree through views") struct ViewedTreeTests {
  private static let file = SafetensorsFile(
    .init("a/b", "BF16", [2, 3]), .init("a/c", "I64", [2]), .init("d", "F32", [5]))

  private func fileSystem(_ sample: SampleModel) throws -> TensorFileSystem {
    try TensorFileSystem(sample.collection, options: MountOptions(), log: Logger(label: "test"))
  }

  @Test("Each view has the tensors that it supports, with the right sizes")
  func sizes() throws {
    let fileSystem = try fileSystem(SampleModel(Self.file))
    #expect(try fileSystem.lookup(path: ".npy/a/b.npy")?.size == 128 + 24)
    #expect(try fileSystem.lookup(path: ".npy/a/c.npy")?.size == 128 + 16)
    #expect(try fileSystem.lookup(path: ".f32/a/b")?.size == 24)
    #expect(try fileSystem.lookup(path: ".f32/d")?.size == 20)
    #expect(try fileSystem.lookup(path: ".safetensors/d.safetensors")?.size == 8 + 56 + 20)
  }

  @Test("A view lacks metadata.json, other views, names without its suffix, and unsupported dtypes")
  func missing() throws {
    let fileSystem = try fileSystem(SampleModel(Self.file))
    let paths = [
      ".npy/metadata.json", ".npy/metadata.json.npy", ".npy/.npy", ".npy/.f32", ".npy/a/b", ".npy/a.npy",
      ".f32/a/c",
      ".f32/metadata.json", "a/.npy", ".raw", ".npy/a/.npy", ".safetensors/d",
    ]
    for path in paths { #expect(try fileSystem.lookup(path: path) == nil, "\(path)") }
  }

  @Test("Every file and directory of every view has a unique inode number, which leads back to it")
  func inodes() throws {
    let sample = try SampleModel(
      [("rank0.safetensors", Self.file), ("rank1.safetensors", Self.file)], asDirectory: true)
    let tree = try ViewedTree(sample.tree, models: sample.collection.components.map(\.model))
    var seen: Set<UInt64> = []
    func visit(_ entry: ViewedTree.Entry) throws {
      #expect(seen.insert(entry.inode).inserted, "\(entry) has the inode number of another")
      #expect(tree.entry(inode: entry.inode)?.inode == entry.inode)
      let node = tree.node(entry)
      guard node.kind == .directory else { return }
      for position in Int(node.first)..<Int(node.first) + Int(node.count) {
        let child = entry.at(position)
        #expect(tree.parent(of: child).inode == entry.inode)
        #expect(tree.child(tree.name(of: child).span, of: entry)?.inode == child.inode)
        try visit(child)
      }
      for view in View.inDirectories {
        if let child = tree.child(view.directory.span, of: entry) {
          #expect(tree.parent(of: child).inode == entry.inode)
          try visit(child)
        }
      }
    }
    try visit(try #require(tree.entry(inode: 1)))
    // These are the tree, the mount's own views of it, and the views of each rank.
    let rank = 6
    #expect(seen.count == (1 + 2 * rank) * 4 + 2 * rank * 3)
  }

  @Test(
    "A view that lacks some tensors is listed completely, with buffers of any size",
    arguments: [100, 300, 65_536])
  func listing(size: Int) throws {
    // The names are long, so that few fit into a buffer. Every third one is absent from the view, the first and the last included.
    let names = (100..<200).map { "\($0)" + String(repeating: "n", count: $0 % 50) }
    let fileSystem = try fileSystem(
      SampleModel(
        SafetensorsFile(
          names.enumerated().map { .init($0.element, $0.offset % 3 == 0 ? "I64" : "BF16", [1]) })))
    let inode = try #require(try fileSystem.lookup(path: ".f32")).inode
    // libfuse passes the pointer on and does not use it: fuse_add_direntry(3).
    let request = unsafe try #require(OpaquePointer(bitPattern: 8))
    var entries: [Listing.Entry] = []
    while true {
      var buffer = unsafe DirectoryBuffer(for: request, size: size, withAttributes: false)
      try fileSystem.list(inode, from: entries.last?.next ?? 0, into: &buffer)
      let part = Listing(unsafe buffer.bytes.withUnsafeBytes { unsafe Array($0) }, withAttributes: false)
      if part.entries.isEmpty { break }
      entries += part.entries
    }
    let expected = names.enumerated().filter { $0.offset % 3 != 0 }.map(\.element)
    #expect(entries.map(\.name) == [".", ".."] + expected)
    for entry in entries.dropFirst(2) {
      #expect(try fileSystem.lookup(path: ".f32/\(entry.name)")?.inode.number == entry.inode)
    }
  }

  @Test("Unknown inode numbers are ESTALE")
  func staleInodes() throws {
    let fileSystem = try fileSystem(SampleModel(Self.file))
    for number in [
      0, 1 << 47, 7 << 48 | 1, 1 << 57 | 2, 1 << 57 | 1 << 48 | 1, 3 << 56 | 1, 1 << 58 | 1, .max,
    ] as [UInt64] {
      #expect(throws: Errno.staleNFSFileHandle, "\(number)") {
        try fileSystem.attributes(of: InodeNumber(number: number))
      }
    }
  }

  // MARK: - Extended attributes

  private func attribute(_ name: String, of path: String, in fileSystem: TensorFileSystem) throws -> String {
    let inode = try #require(try fileSystem.lookup(path: path)).inode
    return String(decoding: try fileSystem.extendedAttribute(Array(name.utf8), of: inode), as: UTF8.self)
  }

  @Test(
    "A tensor's files have its name, dtype, shape, source and offset as extended attributes, in every view")
  func extendedAttributes() throws {
    let fileSystem = try fileSystem(SampleModel(Self.file))
    for path in ["a/b", ".npy/a/b.npy", ".f32/a/b", ".safetensors/a/b.safetensors"] {
      #expect(try attribute("user.safetensors.name", of: path, in: fileSystem) == "a/b")
      #expect(try attribute("user.safetensors.dtype", of: path, in: fileSystem) == "BF16")
      #expect(try attribute("user.safetensors.shape", of: path, in: fileSystem) == "[2, 3]")
      #expect(try attribute("user.safetensors.source", of: path, in: fileSystem) == "model.safetensors")
      #expect(
        try attribute("user.safetensors.offset", of: path, in: fileSystem) == "\(Self.file.dataStart)")
      let inode = try #require(try fileSystem.lookup(path: path)).inode
      #expect(try fileSystem.extendedAttributeNames(of: inode).count == 5)
    }
  }

  @Test("Directories and metadata.json have no extended attributes, and tensors have no others")
  func noExtendedAttributes() throws {
    let fileSystem = try fileSystem(SampleModel(Self.file))
    for path in ["", "a", ".npy", "metadata.json"] {
      let inode = try #require(try fileSystem.lookup(path: path)).inode
      #expect(try fileSystem.extendedAttributeNames(of: inode) == [])
      #expect(throws: Errno.noData) { try attribute("user.safetensors.name", of: path, in: fileSystem) }
    }
    #expect(throws: Errno.noData) { try attribute("user.safetensors.nix", of: "d", in: fileSystem) }
  }
}
