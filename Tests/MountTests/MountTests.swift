import Testing

/// Everything that mounts: the built command, a real kernel, root.
///
/// One test after the other. Each starts a daemon, and some kill theirs or look at the whole machine's mounts; on
/// the few processors of a test machine running them side by side saves nothing.
@Suite(.serialized, .timeLimit(.minutes(5))) struct MountTests {
  @Test("This machine can run these tests: root, /dev/fuse, the tools, the built command")
  func machine() throws {
    try Machine.check()
  }
}
