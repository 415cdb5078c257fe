internal import Safetensors
package import SystemPackage

/// The merged `__metadata__` of several files.
package struct MergedMetadata: Sendable {
  package typealias Entries = [(key: ArraySlice<UInt8>, value: ArraySlice<UInt8>)]

  /// Two files with different values for one key.
  package struct Conflict: Error {
    package let key: [UInt8]
    /// The values, each with its file.
    package let first: (value: [UInt8], source: FilePath)
    package let second: (value: [UInt8], source: FilePath)
  }

  /// All entries, in the order of their keys' bytes.
  package let entries: Entries

  /// Merges the entries of some files. `given` entries take precedence.
  package init(
    _ files: [(source: FilePath, entries: Entries)], given: [(key: [UInt8], value: [UInt8])] = []
  ) throws(Conflict) {
    var merged: [[UInt8]: (value: [UInt8], source: FilePath?)] = [:]
    for entry in given { merged[entry.key] = (entry.value, nil) }
    for (source, entries) in files {
      for entry in entries {
        let (key, value) = (Array(entry.key), Array(entry.value))
        guard let former = merged[key] else {
          merged[key] = (value, source)
          continue
        }
        if let other = former.source, former.value != value {
          throw Conflict(key: key, first: (former.value, other), second: (value, source))
        }
      }
    }
    entries = merged.sorted { compareBytes($0.key[...], $1.key[...]) < 0 }
      .map { ($0.key[...], $0.value.value[...]) }
  }
}
