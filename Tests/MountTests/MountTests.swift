import Testing

/// All tests that mount. They need the built command, a real kernel and root.
///
/// They run one after the other. Each starts a daemon, some kill their daemon or examine all mounts of the machine, and running
/// them in parallel would save no time on the few processors of a test machine.
@Suite(.serialized, .timeLimit(.minutes(5))) struct MountTests {
  @Test("This machine can run these tests: root, /dev/fuse, the tools, the built command")
  func machine() throws {
    try Machine.check()
  }
}
