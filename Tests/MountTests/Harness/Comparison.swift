import Glibc
import SystemPackage
import Testing

/// Expects two runs of bytes to be the same. A failure names the first byte that differs, not all of them.
func expectSame(
  _ actual: [UInt8], _ expected: some Collection<UInt8>, _ what: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  let areSame = expected.withContiguousStorageIfAvailable { unsafe isEqual(actual, $0) }
  if areSame ?? actual.elementsEqual(expected) { return }
  let place = zip(actual, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
  let difference =
    place.map { "differs at byte \($0)" } ?? "has \(actual.count) bytes in place of \(expected.count)"
  Issue.record("\(what) \(difference)", sourceLocation: sourceLocation)
}

/// Compares with memcmp(3), because a loop over megabytes takes seconds without optimisation.
private func isEqual(_ left: [UInt8], _ right: UnsafeBufferPointer<UInt8>) -> Bool {
  guard left.count == right.count else { return false }
  return unsafe left.withUnsafeBytes { left in
    // An empty buffer may have no address.
    guard let left = left.baseAddress, let start = right.baseAddress else { return true }
    return unsafe memcmp(left, start, right.count) == 0
  }
}

/// Expects a mount to hold exactly these files with these contents, each once, and no directories except those of the files.
/// Does not check `metadata.json` in the directories of `models`.
func expectTree(
  _ root: FilePath, _ files: KeyValuePairs<String, [UInt8]>, models: [String] = [""],
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let documents = models.map { FilePath($0).appending("metadata.json") }
  let expected = files.map { FilePath($0.key) } + documents
  let walk = try Walk(root)
  expectSamePaths(walk.files, expected, sourceLocation: sourceLocation)

  var directories: Set<FilePath> = []
  for var path in expected {
    while path.removeLastComponent(), !path.isEmpty { directories.insert(path) }
  }
  expectSamePaths(walk.directories, Array(directories), sourceLocation: sourceLocation)

  for (name, contents) in files {
    let actual = try OpenFile(root.appending(name)).bytes()
    expectSame(actual, contents, name, sourceLocation: sourceLocation)
  }
}

/// Expects two lists to hold the same paths, each once, in any order. Compares paths byte by byte: "é" composed differs from
/// "é" decomposed.
func expectSamePaths(
  _ actual: [FilePath], _ expected: [FilePath], sourceLocation: SourceLocation = #_sourceLocation
) {
  let actualSet = Set(actual)
  let expectedSet = Set(expected)
  func report(_ problem: String, _ paths: some Collection<FilePath>) {
    guard !paths.isEmpty else { return }
    let shown = paths.prefix(5).map { "'\($0)'" }.joined(separator: ", ")
    Issue.record("\(paths.count) \(problem): \(shown)", sourceLocation: sourceLocation)
  }
  report("missing", expectedSet.subtracting(actualSet))
  report("unexpected", actualSet.subtracting(expectedSet))
  #expect(actual.count == actualSet.count, "some stand twice", sourceLocation: sourceLocation)
}
