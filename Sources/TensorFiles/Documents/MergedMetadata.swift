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

  /// The entries, in the order of their keys' bytes.
  package let entries: Entries
  /// The keys that were left out, in the order of their bytes.
  package let leftOut: [[UInt8]]

  /// Merges the entries of some files. `given` entries take precedence.
  package init(
    _ files: [(source: FilePath, entries: Entries)], given: [(key: [UInt8], value: [UInt8])] = []
  ) throws(Conflict) {
    let (entries, conflicts) = Self.merge(files, given)
    if let conflict = conflicts.first { throw conflict }
    self.entries = entries
    leftOut = []
  }

  /// Merges the entries of some files, without those to which the files give different values.
  package init(agreeing files: [(source: FilePath, entries: Entries)]) {
    let (entries, conflicts) = Self.merge(files, [])
    let keys = Set(conflicts.map(\.key))
    self.entries = entries.filter { !keys.contains(Array($0.key)) }
    leftOut = keys.sorted { compareBytes($0[...], $1[...]) < 0 }
  }

  /// The first entry of each key, and the contradictions.
  private static func merge(
    _ files: [(source: FilePath, entries: Entries)], _ given: [(key: [UInt8], value: [UInt8])]
  ) -> (Entries, [Conflict]) {
    var merged: [[UInt8]: (value: [UInt8], source: FilePath?)] = [:]
    var conflicts: [Conflict] = []
    for entry in given { merged[entry.key] = (entry.value, nil) }
    for (source, entries) in files {
      for entry in entries {
        let (key, value) = (Array(entry.key), Array(entry.value))
        guard let former = merged[key] else {
          merged[key] = (value, source)
          continue
        }
        if let other = former.source, former.value != value {
          conflicts.append(Conflict(key: key, first: (former.value, other), second: (value, source)))
        }
      }
    }
    let entries = merged.sorted { compareBytes($0.key[...], $1.key[...]) < 0 }
    return (entries.map { ($0.key[...], $0.value.value[...]) }, conflicts)
  }
}
