import Fixtures
import Glibc
import SystemPackage
import Testing

@testable import Models
import Safetensors

@Suite("Models of one or several files") struct ModelTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func open(_ paths: FilePath..., lenient: Bool = false) throws(ModelError) -> Model {
    let collection = try ModelCollection(opening: paths, OpeningOptions(lenient: lenient))
    #expect(collection.components.map(\.name) == [nil])
    #expect(collection.warnings == collection.components[0].model.warnings)
    return collection.components[0].model
  }

  @Test("A file is a model, with its tensors sorted by name")
  func oneFile() throws {
    let file = SafetensorsFile([.init("b", "F32", [2, 2]), .init("a", "BF16", [3])], padding: 3)
    let model = try open(try directory.write("m.safetensors", file))
    #expect(model.contents == ["a", "b"])
    #expect(model.shards.map(\.name) == ["m.safetensors"])
    #expect(model.totalSize == 22)
    #expect(model.warnings.isEmpty)

    let place = model.places[1]
    let shard = model.shard(at: place)
    let range = try #require(shard.storedRange(of: model.tensor(at: place))).range
    #expect(try shard.file.read(from: range.lowerBound, count: range.count) == file.tensors[0].data)
    #expect(shard.file.mappedElements(range) == file.tensors[0].data)
  }

  @Test("The name of a single file does not matter")
  func anyName() throws {
    let model = try open(try directory.write("weights", SafetensorsFile(.init("a", "U8", [1]))))
    #expect(model.contents == ["a"])
  }

  @Test("Several files are one model, with all tensors sorted by name")
  func severalFiles() throws {
    let first = try directory.write(
      "1.safetensors", SafetensorsFile(.init("a", "U8", [1]), .init("c", "U8", [3])))
    let second = try directory.write(
      "2.safetensors", SafetensorsFile(.init("b", "U8", [2]), .init("", "U8", [4])))
    let model = try open(first, second)
    #expect(model.contents == ["", "a", "b", "c"])
    #expect(
      model.places.map { model.shard(at: $0).name } == [
        "2.safetensors", "1.safetensors", "2.safetensors", "1.safetensors",
      ])
    #expect(model.places.map { model.tensor(at: $0).byteCount } == [4, 1, 2, 3])
    #expect(model.totalSize == 10)
  }

  @Test("Files with the same name are distinguished by their paths")
  func sharedFileNames() throws {
    let first = try directory.write("x/m.safetensors", SafetensorsFile(.init("a", "U8", [1])))
    let second = try directory.write("y/m.safetensors", SafetensorsFile(.init("b", "U8", [1])))
    let third = try directory.write("z.safetensors", SafetensorsFile(.init("c", "U8", [1])))
    #expect(
      try open(first, second, third).shards.map(\.name) == [first.string, second.string, "z.safetensors"])
  }

  @Test("A tensor in two files is an error that names both")
  func clash() throws {
    let first = try directory.write(
      "1.safetensors", SafetensorsFile(.init("a", "U8", [1]), .init("w", "U8", [1])))
    let second = try directory.write("2.safetensors", SafetensorsFile(.init("w", "U8", [2])))
    for (paths, problem) in [([first, second], "'w'"), ([first, first], "this is the same file as")] {
      let error = #expect(throws: ModelError.self) { try ModelCollection(opening: paths) }
      #expect(error?.kind == .malformed)
      #expect(error?.description.contains(first.string) == true)
      #expect(error?.description.contains(paths[1].string) == true)
      #expect(error?.problem.contains(problem) == true)
    }
    // Two spellings of the same letter are two tensors.
    let third = try directory.write("3.safetensors", SafetensorsFile(.init("\u{E9}", "U8", [1])))
    let fourth = try directory.write("4.safetensors", SafetensorsFile(.init("e\u{301}", "U8", [1])))
    #expect(try open(third, fourth).places.count == 2)
  }

  @Test("Trailing bytes are an error, and with --lenient a warning that counts them")
  func trailingBytes() throws {
    var file = SafetensorsFile(.init("a", "U8", [1]))
    file.trailing = [0, 0, 0, 0]
    let path = try directory.write("m.safetensors", file)
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [path]) }
    #expect(error?.kind == .malformed)
    #expect(error?.problem.contains("4 unexpected bytes after the last tensor") == true)
    let model = try open(path, lenient: true)
    #expect(model.warnings == ["\(path.printable): ignored 4 bytes after the last tensor"])
  }

  @Test("An invalid header is an error that names the file and keeps the header's own error")
  func brokenHeader() throws {
    let sound = try directory.write("1.safetensors", SafetensorsFile(.init("a", "U8", [1])))
    let broken = try directory.write("2.safetensors", SafetensorsFile(header: "[]"))
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [sound, broken]) }
    #expect(error?.kind == .malformed)
    #expect(error?.path == broken)
    #expect(error?.headerError?.referenceName == "InvalidHeaderDeserialization")
    #expect(error?.description == "'\(broken)': \(error?.headerError?.description ?? "")")

    let empty = try directory.write("3.safetensors", [])
    let emptyError = #expect(throws: ModelError.self) { try ModelCollection(opening: [empty]) }
    #expect(emptyError?.headerError == .headerTooSmall(fileSize: 0))
  }

  @Test("An index among other sources is refused, and the error says why")
  func indexAmongOthers() throws {
    let file = try directory.write("other.safetensors", SafetensorsFile(.init("a", "U8", [1])))
    let index = directory.path.appending("model.safetensors.index.json")
    for sources in [[index, file], [file, index]] {
      let error = #expect(throws: ModelError.self) { try ModelCollection(opening: sources) }
      #expect(error?.path == index && error?.problem.contains("name it alone") == true, "\(sources)")
    }
  }

  @Test("A missing file is refused as a source")
  func missing() throws {
    let file = try directory.write("m.safetensors", SafetensorsFile(.init("a", "U8", [1])))
    let dangling = try directory.makeLink("dangling", to: "nothing")
    let loop = try directory.makeLink("loop", to: "loop")
    let long = directory.path.appending(String(repeating: "n", count: 300))
    for path in [directory.path.appending("x"), file.appending("x"), dangling, loop, long] {
      for sources in [[path], [file, path]] {
        let error = #expect(throws: ModelError.self) { try ModelCollection(opening: sources) }
        #expect(error?.kind == .noSource, "\(path)")
        #expect(error?.path == path)
      }
    }
  }

  @Test("A FIFO, a device or a directory among the files is refused without blocking")
  func specialFiles() throws {
    let file = try directory.write("m.safetensors", SafetensorsFile(.init("a", "U8", [1])))
    let fifo = try directory.makeFIFO("fifo.safetensors")
    let cases: [(path: FilePath, problem: String)] = [
      (fifo, "it is a FIFO, not a regular file"), ("/dev/zero", "it is a device, not a regular file"),
      ("/dev/null", "it is a device, not a regular file"), (directory.path, "it is a directory, not a file"),
    ]
    for (path, problem) in cases {
      let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [file, path]) }
      #expect(error?.kind == .noSource)
      #expect(error?.problem == problem)
      let index = try directory.write(
        "index/m.safetensors.index.json", ShardIndex(["a": "part.safetensors"]))
      _ = unsafe unlink("\(directory.path)/index/part.safetensors")
      try directory.makeLink("index/part.safetensors", to: path.string)
      #expect(throws: ModelError.self) { try ModelCollection(opening: [index]) }
    }
    let alone = #expect(throws: ModelError.self) { try ModelCollection(opening: [fifo]) }
    #expect(alone?.kind == .noSource)
  }

  @Test("An unreadable file, directory or shard is a permission error")
  func permission() throws {
    let file = try directory.write("d/m.safetensors", SafetensorsFile(.init("a", "U8", [1])))
    let index = try directory.write("i/m.safetensors.index.json", ShardIndex(["a": "part.safetensors"]))
    let part = try directory.write("i/part.safetensors", SafetensorsFile(.init("a", "U8", [1])))
    let closed = try directory.makeDirectory("closed")
    #expect(unsafe chmod(directory.path.string, 0o755) == 0)
    for path in [file, part] { #expect(unsafe chmod(path.string, 0) == 0) }
    #expect(unsafe chmod(closed.string, 0) == 0)
    let inClosed = closed.appending("m.safetensors")

    for (source, culprit) in [(file, file), (index, part), (closed, closed), (inClosed, inClosed)] {
      let error = withoutPrivileges {
        #expect(throws: ModelError.self) { try ModelCollection(opening: [source]) }
      }
      #expect(error?.kind == .notPermitted, "\(source)")
      #expect(error?.path == culprit)
    }
  }

  @Test("A file's name is escaped in messages")
  func hostileFileName() throws {
    let path = try directory.write("\u{1B}[2J\n.safetensors", SafetensorsFile(header: "[]"))
    let error = #expect(throws: ModelError.self) { try ModelCollection(opening: [path]) }
    let text = try #require(error).description
    #expect(text.contains(#"\u{1b}[2J\u{a}.safetensors"#))
    #expect(!text.unicodeScalars.contains(where: PrintableText.isUnsafe))
  }
}
