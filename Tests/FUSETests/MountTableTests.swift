import SystemPackage
import Testing

@testable import FUSE
@testable import Linux

@Suite("Reading mountinfo") struct MountTableTests {
  private func entries(_ text: String) -> [MountTable.Entry] {
    MountTable(parsing: Array(text.utf8)).entries
  }

  private func entry(_ device: String, _ path: String, _ type: String, _ source: String) -> MountTable.Entry {
    MountTable.Entry(device: device, mountPoint: FilePath(path), type: type, source: source)
  }

  @Test("A line is read however many optional fields it has")
  func optionalFields() {
    let text = """
      25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw
      36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw,errors=continue
      40 36 0:45 / /mnt2/m ro,nosuid shared:1 master:2 propagate_from:3 unbindable - fuse.stmount /m.safetensors ro,user_id=0

      """
    #expect(
      entries(text) == [
        entry("0:23", "/sys", "sysfs", "sysfs"),
        entry("98:0", "/mnt2", "ext3", "/dev/root"),
        entry("0:45", "/mnt2/m", "fuse.stmount", "/m.safetensors"),
      ])
  }

  @Test("The kernel's escapes for space, tab, newline and backslash are undone, others left alone")
  func escapes() {
    #expect(
      entries(#"40 36 0:45 / /a\040b\011c\012d\134040 ro - fuse.x my\040model\043 ro"#)
        == [entry("0:45", "/a b\tc\nd\\040", "fuse.x", "my model#")])
    #expect(
      entries(#"40 36 0:45 / /a\9 ro - fuse.x \04 ro"#) == [entry("0:45", #"/a\9"#, "fuse.x", #"\04"#)])
    #expect(
      entries(#"40 36 0:45 / /a\777\+12\-01 ro - t s\1 ro"#)
        == [entry("0:45", #"/a\777\+12\-01"#, "t", #"s\1"#)])
  }

  @Test("A path that is not UTF-8 is kept byte by byte")
  func rawBytes() {
    let line = Array("40 36 0:45 / /a".utf8) + [0xFF, 0xC3] + Array(" ro - tmpfs none rw".utf8)
    let path = MountTable(parsing: line).entries.first?.mountPoint
    #expect(path?.length == 4)
    #expect(path != FilePath("/a"))
  }

  @Test("A mount whose source is empty is read as one")
  func emptySource() {
    #expect(entries("40 36 0:45 / /a rw - tmpfs  rw") == [entry("0:45", "/a", "tmpfs", "")])
  }

  @Test("A hyphen ends the optional fields, wherever else hyphens stand")
  func hyphens() {
    #expect(entries("1 2 0:4 - - - - - -") == [entry("0:4", "-", "-", "-")])
    #expect(entries("40 36 0:45 / /- rw - tmpfs - rw") == [entry("0:45", "/-", "tmpfs", "-")])
  }

  @Test(
    "A line that makes no sense is left out, and its neighbours stay",
    arguments: [
      "", " ", "-", "- - -", "40 36 0:45", "40 36 0:45 / /a rw", "40 36 0:45 / /a rw - tmpfs",
      "40 36 0:45 / /a rw shared:1 tmpfs none rw", "40 36 0:45 / /a - tmpfs none", "\0", "\\", "\\04",
    ])
  func malformed(line: String) {
    let good = "25 30 0:23 / /sys rw - sysfs sysfs rw"
    #expect(entries("\(line)\n\(good)\n\(line)") == [entry("0:23", "/sys", "sysfs", "sysfs")])
  }

  @Test("No text is no mount")
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
    #expect(table.topmost(at: "/a") == entry("0:6", "/a", "tmpfs", "second"))
    #expect(table.topmost(at: "/a/b")?.source == "inner")
    #expect(table.topmost(at: "/")?.type == "ext4")
    #expect(table.topmost(at: "/a/b/c") == nil)
    #expect(table.topmost(at: "/ab") == nil)
  }

  @Test("An autofs trigger is no mount, and what is mounted on it is")
  func autofs() {
    let trigger = "2 1 0:5 / /a rw - autofs systemd-1 rw,fd=40,direct\n"
    #expect(MountTable(parsing: Array(trigger.utf8)).topmost(at: "/a") == nil)
    let covered = trigger + "3 2 0:6 / /a rw - fuse.stmount m ro\n"
    #expect(MountTable(parsing: Array(covered.utf8)).topmost(at: "/a")?.type == "fuse.stmount")
  }

  @Test("This process's own table holds the root and /proc")
  func own() throws {
    let table = try MountTable()
    #expect(table.topmost(at: "/") != nil)
    #expect(table.topmost(at: "/proc")?.type == "proc")
  }
}
