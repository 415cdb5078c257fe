internal import Glibc
public import SystemPackage

/// A directory for one test. The object removes it, with its contents, when it is released.
///
/// Keep a reference for as long as the test needs the files. Removal does not enter mounts in the directory.
public final class TemporaryDirectory: Sendable {
  /// The directory, under `$TMPDIR` or `/tmp`.
  public let path: FilePath

  /// Makes the directory: mkdtemp(3).
  public init() throws(Errno) {
    let parent = unsafe getenv("TMPDIR").map { unsafe FilePath(platformString: $0) } ?? "/tmp"
    var template = Array("\(parent.appending("stmount-test.XXXXXX"))".utf8CString)
    let made = unsafe template.withUnsafeMutableBufferPointer { buffer in
      unsafe buffer.baseAddress.flatMap { unsafe mkdtemp($0) }.map { unsafe FilePath(platformString: $0) }
    }
    guard let made else { throw Errno(rawValue: errno) }
    path = made
  }

  deinit { remove(path, device: try? Stat(path, followTargetSymlink: false).deviceID) }

  /// Writes a file, makes its directories if necessary, and returns its path. Overwrites an existing file in
  /// place.
  @discardableResult
  public func write(_ name: String, _ bytes: some Sequence<UInt8>) throws -> FilePath {
    let file = try prepare(name)
    let descriptor = try FileDescriptor.open(
      file, .writeOnly, options: [.create, .truncate, .closeOnExec],
      permissions: [.ownerReadWrite, .groupRead, .otherRead])
    try descriptor.closeAfter { _ = try descriptor.writeAll(bytes) }
    return file
  }

  /// Writes a file of text.
  @discardableResult
  public func write(_ name: String, text: String) throws -> FilePath { try write(name, text.utf8) }

  /// Writes a safetensors file.
  @discardableResult
  public func write(_ name: String, _ file: SafetensorsFile) throws -> FilePath {
    try write(name, file.bytes)
  }

  /// Writes a PyTorch file.
  @discardableResult
  public func write(_ name: String, _ file: TorchFile) throws -> FilePath { try write(name, file.bytes) }

  /// Writes the index of a sharded set.
  @discardableResult
  public func write(_ name: String, _ index: ShardIndex) throws -> FilePath { try write(name, index.bytes) }

  /// Makes a directory, and its parents if necessary: mkdir(2).
  @discardableResult
  public func makeDirectory(_ name: String) throws -> FilePath {
    let directory = path.appending(name)
    try makeDirectories(to: directory)
    return directory
  }

  /// Makes a symbolic link to `target`, which need not exist: symlink(2).
  @discardableResult
  public func makeLink(_ name: String, to target: String) throws -> FilePath {
    let link = try prepare(name)
    try check(unsafe symlink(target, "\(link)"))
    return link
  }

  /// Makes a FIFO: mkfifo(3).
  @discardableResult
  public func makeFIFO(_ name: String) throws -> FilePath {
    let fifo = try prepare(name)
    try check(unsafe mkfifo("\(fifo)", 0o600))
    return fifo
  }

  // MARK: -

  private func prepare(_ name: String) throws -> FilePath {
    let file = path.appending(name)
    // Without optimisation, splitting a path takes longer than writing a file.
    if name.utf8.contains(UInt8(ascii: "/")) { try makeDirectories(to: file.removingLastComponent()) }
    return file
  }

  private func makeDirectories(to directory: FilePath) throws {
    guard directory != path, directory.starts(with: path) else { return }
    try makeDirectories(to: directory.removingLastComponent())
    if unsafe mkdir("\(directory)", 0o755) != 0, errno != EEXIST { throw Errno(rawValue: errno) }
  }

  private func check(_ result: CInt) throws {
    if result != 0 { throw Errno(rawValue: errno) }
  }

  private func remove(_ path: FilePath, device: DeviceID?) {
    guard let status = try? Stat(path, followTargetSymlink: false), status.deviceID == device else { return }
    if status.type == .directory {
      for name in entries(of: path) { remove(path.appending(name), device: device) }
      _ = unsafe path.withPlatformString { unsafe rmdir($0) }
    } else {
      _ = unsafe path.withPlatformString { unsafe unlink($0) }
    }
  }

  private func entries(of directory: FilePath) -> [FilePath.Component] {
    // Lets the removal enter a directory that a test made unreadable.
    _ = unsafe directory.withPlatformString { unsafe chmod($0, 0o700) }
    guard let stream = unsafe directory.withPlatformString({ unsafe opendir($0) }) else { return [] }
    defer { unsafe closedir(stream) }
    var names: [FilePath.Component] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        unsafe pointer.withMemoryRebound(to: CInterop.PlatformChar.self, capacity: 256) {
          unsafe FilePath(platformString: $0).lastComponent
        }
      }
      if let name, name.kind == .regular { names.append(name) }
    }
    return names
  }
}
