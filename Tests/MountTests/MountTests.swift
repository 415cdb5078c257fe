import Testing

/// All tests that mount. They need the built command, a real kernel and root.
///
/// They run one after the other: each starts a daemon, and some kill their daemon or examine all mounts of the machine.
@Suite(.serialized, .timeLimit(.minutes(5))) struct MountTests {
  @Test("This machine can run these tests: root, /dev/fuse, the tools, the built command")
  func machine() throws {
    try Machine.check()
  }
}
