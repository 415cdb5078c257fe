package import SystemPackage

extension FileDescriptor {
  /// Reads up to the end of a file whose size is not known in advance: a pipe, or a file of procfs. read(2).
  package func readToEnd() throws(Errno) -> [UInt8] {
    var text: [UInt8] = []
    do {
      while true {
        let chunk = unsafe try [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
          count = try unsafe read(into: UnsafeMutableRawBufferPointer(buffer))
        }
        if chunk.isEmpty { return text }
        text += chunk
      }
    } catch {
      throw error as? Errno ?? .ioError
    }
  }
}
