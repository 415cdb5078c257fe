import Testing

@testable import FUSE
@testable import Linux

@Suite("What /etc/fuse.conf grants") struct FuseConfigurationTests {
  @Test("Comments and unknown lines are ignored; without the file, the defaults hold")
  func defaults() {
    for lines: [Substring] in [
      [], ["# user_allow_other", "#mount_max = 5", "other", "  # user_allow_other"],
    ] {
      let configuration = FuseConfiguration(lines: lines)
      #expect(!configuration.allowsOthers && configuration.mountLimit == 1000)
    }
  }

  @Test("user_allow_other and mount_max are found, with and without spaces")
  func lines() {
    for lines: [Substring] in [
      ["user_allow_other", "mount_max = 5"], ["  user_allow_other ", "mount_max=5"],
    ] {
      let configuration = FuseConfiguration(lines: lines)
      #expect(configuration.allowsOthers && configuration.mountLimit == 5)
    }
  }
}
