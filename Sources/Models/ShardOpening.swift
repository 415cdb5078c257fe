internal import Linux
internal import SystemPackage

extension Shard {
  /// How many are opened at a time where each request takes long. Each takes a few requests, one after the other.
  private static let width = 32

  /// Opens files as ``init(opening:lenient:)`` does, in their order; once one has failed, no more need be opened, and the list may
  /// end there. `check` is called before each, and may throw.
  ///
  /// On a network, all but the first are opened in parallel.
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
        // A failure is a result, so nothing is thrown.
        let rest = try? ParallelWork.map(Array(paths.dropFirst(results.count)), width: width, open)
        return results + (rest ?? [])
      }
      results.append(open(path))
      if case .failure = results[results.count - 1] { break }
    }
    return results
  }
}
