internal import Glibc
public import SystemPackage

/// Acts of users and programs that change a file, but not its contents.
public enum HarmlessAct: String, CaseIterable, Sendable {
  case nothing
  case sameMode, otherMode, modeAndBack
  case sameOwner
  case linked, linkedAndUnlinked
  case renamed, renamedAndBack
  case accessList, attribute
  /// As `touch -a` does: opens the file for writing, and sets only the access time.
  case touched
  /// As a backup program does: reads the file, and restores both times.
  case backedUp

  /// True if the act changes what stat(2) reports.
  public var isSeenByStatus: Bool {
    switch self {
    case .otherMode, .linked, .renamed, .accessList: true
    default: false
    }
  }

  /// True if the act changes the change time.
  public var setsChangeTime: Bool { self != .nothing }

  /// Applies the act to a file with mode 0644. If the act renames the file, `.elsewhere` is added to its path.
  public func apply(to path: FilePath) throws(Errno) {
    let other = "\(path).elsewhere"
    switch self {
    case .nothing: break
    case .sameMode: try path.setPermissions(0o644)
    case .otherMode: try path.setPermissions(0o640)
    case .modeAndBack:
      try path.setPermissions(0o600)
      try path.setPermissions(0o644)
    case .sameOwner: try path.setOwner(geteuid(), group: getegid())
    case .linked: try check(unsafe link("\(path)", other))
    case .linkedAndUnlinked:
      try check(unsafe link("\(path)", other))
      try check(unsafe unlink(other))
    case .renamed: try check(unsafe rename("\(path)", other))
    case .renamedAndBack:
      try check(unsafe rename("\(path)", other))
      try check(unsafe rename(other, "\(path)"))
    case .accessList: try path.setAttribute("system.posix_acl_access", Self.list)
    case .attribute: try path.setAttribute("user.note", [1, 2, 3])
    case .touched:
      try open(path, O_WRONLY) { file throws(Errno) in
        try check(unsafe futimens(file, [timespec(tv_sec: 0, tv_nsec: 0x3FFF_FFFF), Self.omit]))
      }
    case .backedUp:
      var status = stat()
      try check(unsafe stat("\(path)", &status))
      try open(path, O_RDONLY) { file throws(Errno) in
        var byte: UInt8 = 0
        _ = unsafe read(file, &byte, 1)
        try check(unsafe futimens(file, [status.st_atim, status.st_mtim]))
      }
    }
  }

  /// UTIME_OMIT.
  private static let omit = timespec(tv_sec: 0, tv_nsec: 0x3FFF_FFFE)

  /// An access control list that lets user 1 read: version 2, then entries of tag, permissions and ID.
  private static let list: [UInt8] =
    [2, 0, 0, 0] + [1, 0, 6, 0, 255, 255, 255, 255] + [2, 0, 4, 0, 1, 0, 0, 0]
    + [4, 0, 4, 0, 255, 255, 255, 255] + [16, 0, 6, 0, 255, 255, 255, 255] + [
      32, 0, 4, 0, 255, 255, 255, 255,
    ]
}

/// Ways to change the contents of a file, but not their size.
public enum Rewriting: String, CaseIterable, Sendable {
  case inPlace, truncatedAndRefilled, truncatedAndExtended, punched
  /// Through a shared mapping.
  case mapped
  /// By io_submit(2).
  case submitted

  /// True if inotify(7) reports the write.
  public var isReported: Bool { self != .mapped && self != .submitted }

  /// Overwrites the last `count` bytes, calls `whileOpen`, closes the file, and restores the modification time.
  public func apply(to path: FilePath, last count: Int, whileOpen: () -> Void = {}) throws(Errno) {
    var before = stat()
    try check(unsafe stat("\(path)", &before))
    let start = Int(before.st_size) - count
    let bytes = [UInt8](repeating: 0xA5, count: count)
    try open(path, O_RDWR) { file throws(Errno) in
      switch self {
      case .inPlace: try check(unsafe pwrite(file, bytes, count, start) == count ? 0 : -1)
      case .truncatedAndRefilled:
        try check(ftruncate(file, start))
        try check(unsafe pwrite(file, bytes, count, start) == count ? 0 : -1)
      case .truncatedAndExtended:
        try check(ftruncate(file, start))
        try check(ftruncate(file, start + count))
      case .punched: try punchHole(file, from: start, count: count)
      case .mapped:
        let size = Int(before.st_size)
        let address = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else { throw Errno(rawValue: errno) }
        unsafe memset(address + start, 0xA5, count)
        unsafe munmap(address, size)
      case .submitted: try submit(bytes, to: file, at: start)
      }
      whileOpen()
    }
    let times = [before.st_atim, before.st_mtim]
    try check(unsafe utimensat(AT_FDCWD, "\(path)", times, 0))
  }
}

private func open(_ path: FilePath, _ flags: CInt, _ body: (CInt) throws(Errno) -> Void) throws(Errno) {
  let file = unsafe Glibc.open("\(path)", flags | O_CLOEXEC)
  try check(file)
  defer { close(file) }
  try body(file)
}

private func check(_ result: CInt) throws(Errno) {
  if result < 0 { throw Errno(rawValue: errno) }
}

/// Replaces bytes with zeros: fallocate(2) with FALLOC_FL_PUNCH_HOLE, which Glibc's module lacks.
private func punchHole(_ file: CInt, from start: Int, count: Int) throws(Errno) {
  typealias Allocate = @convention(c) (CInt, CInt, off_t, off_t) -> CInt
  guard let symbol = unsafe dlsym(nil, "fallocate") else { throw .noFunction }
  try check(unsafe unsafeBitCast(symbol, to: Allocate.self)(file, 3, off_t(start), off_t(count)))
}

/// Writes bytes to a file through io_setup(2) and io_submit(2), which Glibc lacks.
private func submit(_ bytes: [UInt8], to file: CInt, at offset: Int) throws(Errno) {
  typealias Call = @convention(c) (Int, Int, Int, Int, Int, Int) -> Int
  guard let symbol = unsafe dlsym(nil, "syscall") else { throw .noFunction }
  let call = unsafe unsafeBitCast(symbol, to: Call.self)
  #if arch(x86_64)
    let (setup, destroy, getEvents, submit) = (206, 207, 208, 209)
  #else
    let (setup, destroy, submit, getEvents) = (0, 1, 2, 4)
  #endif
  var context = 0
  try check(
    CInt(unsafe withUnsafeMutablePointer(to: &context) { call(setup, 1, Int(bitPattern: $0), 0, 0, 0) }))
  defer { _ = call(destroy, context, 0, 0, 0, 0) }
  var event: [Int] = [0, 0, 0, 0]
  unsafe bytes.withUnsafeBytes { bytes in
    // struct iocb: data, key and flags, IOCB_CMD_PWRITE and the descriptor, the buffer, its size, the offset, two unused fields.
    let request = [0, 0, 1 | Int(file) << 32, Int(bitPattern: bytes.baseAddress), bytes.count, offset, 0, 0]
    unsafe request.withUnsafeBytes { request in
      unsafe withUnsafePointer(to: Int(bitPattern: request.baseAddress)) { list in
        _ = call(submit, context, 1, Int(bitPattern: list), 0, 0)
      }
      unsafe event.withUnsafeMutableBytes { event in
        _ = call(getEvents, context, 1, 1, Int(bitPattern: event.baseAddress), 0)
      }
    }
  }
  // struct io_event: data, the request, the result.
  if event[2] != bytes.count { throw .ioError }
}

extension FilePath {
  /// Sets an extended attribute, if the file system supports them: setxattr(2), which Glibc's module lacks.
  fileprivate func setAttribute(_ name: String, _ value: [UInt8]) throws(Errno) {
    typealias Set =
      @convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeRawPointer, Int, CInt) -> CInt
    guard let symbol = unsafe dlsym(nil, "setxattr") else { throw .noFunction }
    let set = unsafe unsafeBitCast(symbol, to: Set.self)
    if unsafe set("\(self)", name, value, value.count, 0) != 0, errno != EOPNOTSUPP {
      throw Errno(rawValue: errno)
    }
  }
}
