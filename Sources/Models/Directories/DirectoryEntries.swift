internal import Linux
internal import Safetensors
package import SystemPackage

extension FilePath {
  /// The names in this directory, hidden ones too, in the order of their bytes.
  package func entries() throws(ModelError) -> [[UInt8]] {
    let names = try ModelError.translating("list", self) { () throws(Errno) in try entryNames() }
    return names.sorted { compareBytes($0[...], $1[...]) < 0 }
  }
}
