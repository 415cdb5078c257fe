import Fixtures
import Glibc
import SystemPackage
import Testing

@testable import FUSE
@testable import Linux

@Suite("Checking a mount point") struct MountPointTests {
  private func problem(_ path: FilePath) -> MountError? {
    #expect(throws: MountError.self) { try MountPoint(checking: path, shownAs: "'it'") }
  }

  @Test("A mount point becomes its absolute path, with symbolic links resolved")
  func resolved() throws {
    let directory = try TemporaryDirectory()
    let real = try directory.makeDirectory("real/m")
    try directory.makeLink("link", to: "real")
    try directory.makeLink("direct", to: "\(real)")
    let plain = try MountPoint(checking: real, shownAs: "")
    #expect(plain.path.lastComponent == "m")
    #expect(plain.path.isAbsolute)
    for path in ["link/m", "direct", "real/../link/./m/"] {
      #expect(try MountPoint(checking: directory.path.appending(path), shownAs: "").path == plain.path)
    }
  }

  @Test("A relative path starts at the working directory")
  func relative() throws {
    #expect(try MountPoint(checking: "Tests/..", shownAs: "").path.isAbsolute)
  }

  @Test("A missing directory is named, with the command that makes it")
  func missing() throws {
    let directory = try TemporaryDirectory()
    try directory.makeLink("dangling", to: "nowhere")
    for name in ["m", "m/n", "dangling"] {
      let error = problem(directory.path.appending(name))
      #expect(error?.kind == .mountPoint)
      #expect(error?.description == "mount point 'it' does not exist; create it first: mkdir 'it'")
    }
    #expect(problem("")?.kind == .mountPoint)
  }

  @Test("A mount point that is not a directory is refused, and so is a path below it")
  func notDirectory() throws {
    let directory = try TemporaryDirectory()
    try directory.write("file", text: "")
    try directory.makeFIFO("fifo")
    try directory.makeLink("link", to: "file")
    for name in ["file", "file/m", "fifo", "link"] {
      let error = problem(directory.path.appending(name))
      #expect(error?.kind == .mountPoint)
      #expect(
        error?.description
          == "mount point 'it' is not a directory; the last argument is the directory to mount on")
    }
  }

  @Test("A loop of symbolic links is an error, not a hang")
  func circle() throws {
    let directory = try TemporaryDirectory()
    try directory.makeLink("a", to: "b")
    try directory.makeLink("b", to: "a")
    let error = problem(directory.path.appending("a"))
    #expect(error?.kind == .mountPoint)
    #expect(
      error?.description == "mount point 'it' cannot be used: \(Errno.tooManySymbolicLinkLevels)")
  }

  @Test("A directory with another program's mount is refused, with the mount's type")
  func carriesMount() {
    let error = problem("/proc")
    #expect(error?.kind == .mountPoint)
    #expect(
      error?.description
        == "mount point 'it' already has a mount of type proc; name another directory")
  }

  @Test("A directory that this user cannot reach is not permitted")
  func outOfReach() async {
    await #expect(processExitsWith: .success) {
      let directory = try TemporaryDirectory()
      try directory.makeDirectory("closed/m")
      let closed = directory.path.appending("closed")
      try #require(unsafe chmod("\(closed)", 0) == 0)
      // Root can access everything, so the check runs as the user nobody.
      let isRoot = geteuid() == 0
      if isRoot { try #require(unsafe chmod("\(directory.path)", 0o755) == 0 && seteuid(65534) == 0) }
      let error = #expect(throws: MountError.self) {
        try MountPoint(checking: closed.appending("m"), shownAs: "'it'")
      }
      if isRoot { try #require(seteuid(0) == 0) }
      #expect(error?.kind == .notPermitted)
      #expect(error?.description == "mount point 'it' cannot be reached: \(Errno.permissionDenied)")
    }
  }
}
