import SystemPackage
import Testing

@testable import FUSE
@testable import Linux

@Suite("Reading mountinfo") struct MountTableTests {
  private func entries(_ text: String) -> [MountTable.Entry] {
    MountTable(parsing: Array(text.utf8)).entries
  }

  /// An entry for tests that use neither its numbers nor whether it is writable.
  private struct Place: Equatable {
    let device: String
    let path: FilePath
    let type: String
    let source: String

    init(_ entry: MountTable.Entry) {
      device = entry.device
      path = entry.mountPoint
      type = entry.type
      source = entry.source
    }

    init(_ device: String, _ path: String, _ type: String, _ source: String) {
      self.device = device
      self.path = FilePath(path)
      self.type = type
      self.source = source
    }
  }

  private func places(_ text: String) -> [Place] { entries(text).map(Place.init) }

  @Test("A line is read however many optional fields it has")
  func optionalFields() {
    let text = """
      25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw
      36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw,errors=continue
      40 36 0:45 / /mnt2/m ro,nosuid shared:1 master:2 propagate_from:3 unbindable - fuse.stmount /m.safetensors ro,user_id=0

      """
    #expect(
      places(text) == [
        Place("0:23", "/sys", "sysfs", "sysfs"),
        Place("98:0", "/mnt2", "ext3", "/dev/root"),
        Place("0:45", "/mnt2/m", "fuse.stmount", "/m.safetensors"),
      ])
  }

  @Test("The kernel's escapes for space, tab, newline and backslash are decoded, others are kept")
  func escapes() {
    #expect(
      places(#"40 36 0:45 / /a\040b\011c\012d\134040 ro - fuse.x my\040model\043 ro"#)
        == [Place("0:45", "/a b\tc\nd\\040", "fuse.x", "my model#")])
    #expect(
      places(#"40 36 0:45 / /a\9 ro - fuse.x \04 ro"#) == [Place("0:45", #"/a\9"#, "fuse.x", #"\04"#)])
    #expect(
      places(#"40 36 0:45 / /a\777\+12\-01 ro - t s\1 ro"#)
        == [Place("0:45", #"/a\777\+12\-01"#, "t", #"s\1"#)])
  }

  @Test("A path that is not UTF-8 is kept byte by byte")
  func rawBytes() {
    let line = Array("40 36 0:45 / /a".utf8) + [0xFF, 0xC3] + Array(" ro - tmpfs none rw".utf8)
    let path = MountTable(parsing: line).entries.first?.mountPoint
    #expect(path?.length == 4)
    #expect(path != FilePath("/a"))
  }

  @Test("A mount with an empty source is read")
  func emptySource() {
    #expect(places("40 36 0:45 / /a rw - tmpfs  rw") == [Place("0:45", "/a", "tmpfs", "")])
  }

  @Test("A hyphen ends the optional fields, even if other fields contain hyphens")
  func hyphens() {
    #expect(places("1 2 0:4 - - - - - -") == [Place("0:4", "-", "-", "-")])
    #expect(places("40 36 0:45 / /- rw - tmpfs - rw") == [Place("0:45", "/-", "tmpfs", "-")])
  }

  @Test(
    "A malformed line is ignored, and its neighbours are kept",
    arguments: [
      "", " ", "-", "- - -", "40 36 0:45", "40 36 0:45 / /a rw", "40 36 0:45 / /a rw - tmpfs",
      "40 36 0:45 / /a rw shared:1 tmpfs none rw", "40 36 0:45 / /a - tmpfs none",
      "x 36 0:45 / /a rw - tmpfs none rw", "\0", "\\", "\\04",
    ])
  func malformed(line: String) {
    let good = "25 30 0:23 / /sys rw - sysfs sysfs rw"
    #expect(places("\(line)\n\(good)\n\(line)") == [Place("0:23", "/sys", "sysfs", "sysfs")])
  }

  @Test("An empty table has no mounts")
  func empty() {
    #expect(entries("").isEmpty)
    #expect(MountTable(parsing: []).topmost(at: "/") == nil)
  }

  @Test("Of several mounts on one directory the topmost counts")
  func topmost() {
    let table = MountTable(
      parsing: Array(
        """
        1 0 8:1 / / rw - ext4 /dev/sda1 rw
        2 1 0:5 / /a rw - tmpfs first rw
        3 2 0:6 / /a rw - tmpfs second rw
        4 1 0:7 / /a/b rw - tmpfs inner rw
        """.utf8))
    #expect(table.topmost(at: "/a").map(Place.init) == Place("0:6", "/a", "tmpfs", "second"))
    #expect(table.topmost(at: "/a/b")?.source == "inner")
    #expect(table.topmost(at: "/")?.type == "ext4")
    #expect(table.topmost(at: "/a/b/c") == nil)
    #expect(table.topmost(at: "/ab") == nil)
  }

  @Test("A mount's number, its parent's, and whether it can be written to are read")
  func numbers() throws {
    for (options, own, isReadOnly) in [
      ("ro,nosuid", "ro,user_id=0", true), ("rw", "ro", false), ("ro", "rw,root=1", false),
      ("rw", "rw,errors=remount-ro", false),
    ] {
      let entry = try #require(entries("36 35 98:0 / /a \(options) shared:2 - ext4 /dev/a \(own)").first)
      #expect(entry.id == 36 && entry.parent == 35 && entry.isReadOnly == isReadOnly)
    }
  }

  @Test("An autofs trigger does not count as a mount, and a mount on it does")
  func autofs() {
    let trigger = "2 1 0:5 / /a rw - autofs systemd-1 rw,fd=40,direct\n"
    #expect(MountTable(parsing: Array(trigger.utf8)).topmost(at: "/a") == nil)
    let covered = trigger + "3 2 0:6 / /a rw - fuse.stmount m ro\n"
    #expect(MountTable(parsing: Array(covered.utf8)).topmost(at: "/a")?.type == "fuse.stmount")
  }

  @Test("This process's own table has the root and /proc")
  func own() throws {
    let table = try MountTable()
    #expect(table.topmost(at: "/") != nil)
    #expect(table.topmost(at: "/proc")?.type == "proc")
  }
}
