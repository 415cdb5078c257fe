internal import Safetensors

extension ModelDirectory {
  /// The files of one format in a directory that share a property, such as the variant.
  struct Files {
    let family: ModelFamily
    let names: [[UInt8]]
    let indexes: [[UInt8]]
    /// Files that are not parts of a split.
    let singles: [[UInt8]]
    let splits: [ShardName.Split: [[UInt8]]]

    init(_ directory: ModelDirectory, _ family: ModelFamily, where isWanted: ([UInt8]) -> Bool) {
      self.family = family
      names = directory.names.filter { family.isFile($0) && isWanted($0) }
      indexes = directory.names.filter { family.isIndex($0) && isWanted($0) }
      singles = names.filter { ShardName($0) == nil }
      var splits: [ShardName.Split: [[UInt8]]] = [:]
      for name in names {
        if let part = ShardName(name) { splits[part.split, default: []].append(name) }
      }
      self.splits = splits
    }

    var isEmpty: Bool { names.isEmpty && indexes.isEmpty }

    /// The file with a model's usual name.
    var main: [UInt8]? { first(family.mainFiles, of: names) }

    /// The index with a model's usual name.
    var mainIndex: [UInt8]? { first(family.mainIndexes, of: indexes) }

    /// True if a file has a model's usual name, or there is an index or a split.
    var hasMain: Bool { main != nil || !indexes.isEmpty || !splits.isEmpty }

    private func first(_ wanted: [String], of names: [[UInt8]]) -> [UInt8]? {
      wanted.lazy.map { Array($0.utf8) }.first { names.contains($0) }
    }

    /// The names that the user can choose, in quotes.
    var choices: [String] {
      (indexes + singles).map { PrintableText.quoted($0) } + splits.keys.map(\.pattern).sorted()
    }
  }
}
