import Fixtures
import Glibc
import SystemPackage
import Testing

@testable import Models
import Safetensors
@testable import TensorFiles

@Suite("Directories of tensors with metadata.json") struct TensorDirectoryTests {
  /// A document with one tensor, `a`, that has these fields.
  private static func document(_ fields: String, rest: String = "") -> String {
    #"{"format": "safetensors", "metadata": {}, \#(rest)"tensors": {"a": {\#(fields)}}}"#
  }

  private static let sound = #""path": "a", "dtype": "F32", "shape": [2], "nbytes": 8"#

  @discardableResult
  private func open(_ document: String, _ files: [String: Int] = ["a": 8]) throws -> [UInt64] {
    let directory = try TemporaryDirectory()
    try directory.write("metadata.json", text: document)
    for (name, size) in files { try directory.write(name, Array(repeating: 7, count: size)) }
    let opened = try TensorDirectory(opening: directory.path)
    return try opened.entries.map { try opened.open($0).size }
  }

  @Test("Names, paths, dtypes, shapes and metadata are read from the document, and other fields are skipped")
  func reading() throws {
    #expect(try open(Self.document(Self.sound + #", "source": "m", "offset": 80, "new": [{}]"#)) == [8])
    let json = #"""
      {"metadata": {"one.safetensors": {"k": "v"}, "two.safetensors": {}},
       "tensors": {"b\u0000/": {"path": "b%00/%", "dtype": "F4", "shape": [3, 2], "nbytes": 3},
                   "": {"path": "%", "dtype": "I64", "shape": [], "nbytes": 8}}}
      """#
    let document = try TensorDocument(reading: Array(json.utf8).span)
    #expect(document.entries.map { Array($0.tensor.name.utf8) } == [[], [0x62, 0, 0x2F]])
    #expect(document.entries.map(\.path) == [Array("%".utf8), Array("b%00/%".utf8)])
    #expect(document.entries[1].tensor.dtype == .f4 && document.entries[1].tensor.shape == [3, 2])
    #expect(document.metadata.count == 2 && document.metadata[0].map(\.key) == [ArraySlice("k".utf8)])
  }

  @Test(
    "A malformed document is refused with the byte",
    arguments: [
      "", #"{"a": 1"#, #"{"tensors": {}} x"#, #"{"tensors": {}, "tensors": {}}"#, #"{"tensors": {},}"#,
      #"{"tensors": {"a": {}}}"#, #"{"metadata": {"k": 1}, "tensors": {}}"#,
      document(sound + #", "path": "a""#), document(sound + "," + sound),
      document(#""path": "a", "dtype": "F32", "shape": [2], "nbytes": 9"#),
      document(#""path": "a", "dtype": "f32", "shape": [2], "nbytes": 8"#),
      document(#""path": "a", "dtype": "F4", "shape": [1], "nbytes": 1"#),
      document(#""path": "a", "dtype": "F32", "shape": [2.0], "nbytes": 8"#),
      document(#""path": "a", "dtype": "F32", "shape": [-2], "nbytes": 8"#),
      document(#""path": "a", "dtype": "F32", "shape": [9223372036854775808, 4], "nbytes": 0"#),
      #"{"tensors": {"a": {\#(sound)}, "\u0061": {\#(sound)}}}"#,
    ])
  func malformed(document: String) {
    #expect { try open(document) } throws: { error in
      let error = error as? ModelError
      return error?.kind == .malformed && error?.problem.contains("byte") == true
    }
  }

  @Test(
    "JSON without an object of tensors is another program's, and no list of a broken mount",
    arguments: [
      "[]", "{}", " 3 ", #"{"foo": 1, "foo": 2}"#, #"{"tensors": []}"#, #"{"metadata": 5}"#,
      #"{"model": {"tensors": {}}}"#,
    ])
  func foreign(document: String) {
    #expect { try open(document) } throws: { error in (error as? ModelError)?.kind == .noSource }
  }

  @Test("The files of tensors are not held open, and one that was replaced meanwhile counts as changed")
  func reopening() throws {
    let directory = try TemporaryDirectory()
    let fields = (0..<200).map { #""\#($0)": {"path": "\#($0)", "dtype": "U8", "shape": [2], "nbytes": 2}"# }
    try directory.write("metadata.json", text: #"{"tensors": {"# + fields.joined(separator: ",") + "}}")
    for number in 0..<200 { try directory.write("\(number)", [UInt8(number), 7]) }
    let tensors = try TensorDirectory(opening: directory.path).tensors { _ in true }.tensors
    try #require(tensors.count == 200)
    let replaced = directory.path.appending("5")
    try directory.write("new", [5, 7])
    try #require(unsafe rename("\(directory.path.appending("new"))", "\(replaced)") == 0)
    try #require(unsafe unlink("\(directory.path.appending("6"))") == 0)
    #expect(tensors.allSatisfy { $0.file.descriptor.rawValue == -1 })
    for (tensor, file) in tensors {
      let number = try #require(UInt8(String(decoding: tensor.name.utf8, as: UTF8.self)))
      if number == 5 || number == 6 {
        #expect(throws: number == 5 ? Errno.staleNFSFileHandle : .noSuchFileOrDirectory) {
          try file.read(from: 0, count: 2)
        }
        #expect(file.verdict() == .changed(.contents))
      } else {
        #expect(try file.read(from: 0, count: 2) == [number, 7])
        #expect(file.isUnchanged())
      }
    }
  }

  @Test(
    "A path that could lead out of the directory is refused",
    arguments: ["", "/a", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "..", "a\\u0000b"])
  func escapingPaths(path: String) {
    let document = Self.document(#""path": "\#(path)", "dtype": "F32", "shape": [2], "nbytes": 8"#)
    #expect { try open(document) } throws: { error in
      (error as? ModelError)?.problem.contains("is not the path of a file below") == true
    }
  }

  @Test("A symbolic link in a path is refused, and so is anything but a regular file")
  func links() throws {
    let outside = try TemporaryDirectory()
    try outside.write("a", Array(repeating: 1, count: 8))
    func refusal(_ path: String, _ prepare: (TemporaryDirectory) throws -> Void) throws -> String {
      let directory = try TemporaryDirectory()
      try prepare(directory)
      let fields = #""path": "\#(path)", "dtype": "F32", "shape": [2], "nbytes": 8"#
      try directory.write("metadata.json", text: Self.document(fields))
      let opened = try TensorDirectory(opening: directory.path)
      do throws(ModelError) {
        _ = try opened.open(opened.entries[0])
        return "it was opened"
      } catch {
        return error.problem
      }
    }
    #expect(try refusal("a") { try $0.makeLink("a", to: "\(outside.path)/a") }.contains("symbolic link"))
    #expect(try refusal("d/a") { try $0.makeLink("d", to: "\(outside.path)") }.contains("symbolic link"))
    #expect(try refusal("a") { try $0.makeFIFO("a") }.contains("FIFO"))
    #expect(try refusal("a") { try $0.makeDirectory("a") }.contains("directory"))
    #expect(try refusal("a") { _ in }.contains("No such file"))
  }

  @Test("A file whose size differs from its tensor's is refused, with both sizes")
  func sizes() {
    for size in [0, 7, 9] {
      #expect { try open(Self.document(Self.sound), ["a": size]) } throws: { error in
        let problem = (error as? ModelError)?.problem ?? ""
        return problem.contains("\(size) byte") && problem.hasSuffix("gives tensor 'a' 8")
      }
    }
  }
}
