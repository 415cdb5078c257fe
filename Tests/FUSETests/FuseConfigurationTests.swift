import Testing

@testable import FUSE
@testable import Linux

@Suite("What /etc/fuse.conf grants") struct FuseConfigurationTests {
  @Test("Comments and unknown lines are ignored; without the file, the defaults hold")
  func defaults() {
    for lines: [Substring] in [
      [], ["# user_allow_other", "#mount_max = 5", "other", "  # user_allow_other"],
    ] {
      #expect(!FuseConfiguration(lines: lines).allowsOthers)
    }
  }

  @Test("user_allow_other is found, with and without spaces")
  func lines() {
    for lines: [Substring] in [
      ["user_allow_other", "mount_max = 5"], ["  user_allow_other ", "mount_max=5"],
    ] {
      #expect(FuseConfiguration(lines: lines).allowsOthers)
    }
  }
}
