internal import Glibc
internal import Linux
package import SystemPackage

/// The mount table of this process: proc_pid_mountinfo(5).
///
/// Reading it does not access any mounted file system, so a dead or hanging mount cannot block.
package struct MountTable: Sendable {
  /// One mount.
  package struct Entry: Sendable, Equatable {
    /// Its number, which the kernel reuses once this mount is gone.
    package var id: Int
    /// The number of the mount that it is mounted on.
    package var parent: Int
    /// The file system's device number as `MAJOR:MINOR`; a FUSE mount has one of its own.
    package var device: String
    /// The mount point, an absolute path.
    package var mountPoint: FilePath
    /// True if this mount or its file system is read-only.
    package var isReadOnly: Bool
    /// The file system's type, such as `fuse.stmount`.
    package var type: String
    /// The source, as findmnt(8) shows it.
    package var source: String
    /// Who has mounted it, of a FUSE mount: the options `user_id` and `group_id`, numbers of this user namespace.
    package var owner: Owner?

    /// The file system is in a program, which may be gone or not answer.
    var isFUSE: Bool { type == "fuse" || type == "fuseblk" || type.hasPrefix("fuse.") }
  }

  /// The user and group whose processes may use a FUSE mount: mount.fuse3(8).
  package struct Owner: Sendable, Equatable {
    package var user: UInt32
    package var group: UInt32
  }

  /// The mounts in the order in which they cover each other: later ones on top.
  package let entries: [Entry]

  /// Reads `/proc/self/mountinfo`, whose size is not known in advance.
  package init() throws(Errno) {
    var text: [UInt8] = []
    do {
      let file = try FileDescriptor.open(
        FilePath("/proc/self/mountinfo"), .readOnly, options: .closeOnExec)
      defer { try? file.close() }
      while true {
        let chunk = unsafe try [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
          count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(buffer))
        }
        if chunk.isEmpty { break }
        text += chunk
      }
    } catch {
      throw error as? Errno ?? .ioError
    }
    self.init(parsing: text)
  }

  /// Reads the text of a mountinfo file; malformed lines are left out.
  init(parsing text: [UInt8]) {
    entries = text.split(separator: UInt8(ascii: "\n")).compactMap(Self.entry)
  }

  /// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
  private static func entry(_ line: ArraySlice<UInt8>) -> Entry? {
    // A source may be empty, and then two spaces follow each other.
    let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    // The number of optional fields varies; a lone hyphen ends them.
    guard fields.count > 6, let id = number(fields[0]), let parent = number(fields[1]),
      let hyphen = fields.dropFirst(6).firstIndex(where: { $0.elementsEqual("-".utf8) }),
      fields.count > hyphen + 2
    else { return nil }
    let options = [fields[5]] + fields.dropFirst(hyphen + 3).prefix(1)
    return Entry(
      id: id, parent: parent,
      device: String(decoding: fields[2], as: UTF8.self),
      mountPoint: FilePath(bytes: unescape(fields[4])),
      isReadOnly: options.allSatisfy {
        $0.split(separator: UInt8(ascii: ",")).contains { $0.elementsEqual("ro".utf8) }
      },
      type: String(decoding: unescape(fields[hyphen + 1]), as: UTF8.self),
      source: String(decoding: unescape(fields[hyphen + 2]), as: UTF8.self),
      owner: fields.count > hyphen + 3 ? owner(fields[hyphen + 3]) : nil)
  }

  private static func owner(_ options: ArraySlice<UInt8>) -> Owner? {
    let options = options.split(separator: UInt8(ascii: ","))
    func value(_ name: String) -> UInt32? {
      options.first { $0.starts(with: name.utf8) }.flatMap {
        UInt32(String(decoding: $0.dropFirst(name.utf8.count), as: UTF8.self))
      }
    }
    guard let user = value("user_id="), let group = value("group_id=") else { return nil }
    return Owner(user: user, group: group)
  }

  private static func number(_ field: ArraySlice<UInt8>) -> Int? {
    Int(String(decoding: field, as: UTF8.self))
  }

  /// Undoes the kernel's escapes: space, tab, newline and backslash are `\` and three octal digits.
  private static func unescape(_ field: ArraySlice<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    var rest = field
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), let value = octal(rest.prefix(3)) {
        result.append(value)
        rest = rest.dropFirst(3)
      } else {
        result.append(byte)
      }
    }
    return result
  }

  /// The byte with this octal escape, or nil if these are not three octal digits.
  private static func octal(_ digits: ArraySlice<UInt8>) -> UInt8? {
    guard digits.count == 3, digits.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "7")).contains) else {
      return nil
    }
    return UInt8(exactly: digits.reduce(0) { $0 * 8 + Int($1 - UInt8(ascii: "0")) })
  }

  /// The topmost mount at a mount point, or nil. An autofs trigger does not count as a mount: the mount that it triggers
  /// covers it.
  package func topmost(at mountPoint: FilePath) -> Entry? {
    guard let entry = entries.last(where: { $0.mountPoint == mountPoint }), entry.type != "autofs" else {
      return nil
    }
    return entry
  }
}
