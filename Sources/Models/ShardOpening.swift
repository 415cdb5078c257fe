internal import Linux
internal import SystemPackage

extension Shard {
  /// The number of files that are opened in parallel over a network. Opening one takes a few requests in a
  /// row.
  private static let width = 32

  /// Opens files with ``init(opening:lenient:)``, and returns the results in order. After a failure, the list
  /// may end. Calls `check` before opening each; it may throw.
  ///
  /// On a network file system, opens all but the first in parallel.
  static func opening(
    _ paths: [FilePath], lenient: Bool,
    ifSafe check: @escaping @Sendable (FilePath) throws(ModelError) -> Void = { _ throws(ModelError) in }
  ) -> [Result<Shard, ModelError>] {
    let open: @Sendable (FilePath) -> Result<Shard, ModelError> = { path in
      Result { () throws(ModelError) in
        try check(path)
        return try Shard(opening: path, lenient: lenient)
      }
    }
    var results: [Result<Shard, ModelError>] = []
    for path in paths {
      if case .success(let first)? = results.first, first.file.requestSize != nil {
        // The closure returns failures as results, so nothing is thrown.
        let rest = try? ParallelWork.map(Array(paths.dropFirst(results.count)), width: width, open)
        return results + (rest ?? [])
      }
      results.append(open(path))
      if case .failure = results[results.count - 1] { break }
    }
    return results
  }
}
