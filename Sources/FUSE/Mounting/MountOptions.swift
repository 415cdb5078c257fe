internal import CFuse

/// The options of `-o`: those of mount.fuse3(8) that make sense for a read-only mount, and those that
/// mount(8) and fstab(5) pass to every helper.
package struct MountOptions: Sendable, Equatable {
  /// An option that is unknown, or has an invalid value.
  package struct Problem: Error, Equatable, CustomStringConvertible {
    /// What is wrong, as one clause; holds the option as it was given.
    package let description: String

    /// A problem in one clause.
    package init(description: String) { self.description = description }
  }

  /// Other users may use the mount.
  package var allowOther = false
  /// Root may use an unprivileged user's mount.
  package var allowRoot = false
  /// The owner that every file shows, in place of the source's.
  package var owner: UInt32?
  /// The group that every file shows, in place of the source's.
  package var group: UInt32?
  /// The permission bits that every file lacks, in place of the source's mode; at most 0777.
  package var umask: UInt32?
  /// The source that findmnt(8) shows, encoded as in ``Linux/Arguments``.
  package var source = "stmount"
  /// The second half of the file system's type, `fuse.SUBTYPE`.
  package var subtype = "stmount"
  /// Files bypass the page cache: no second copy in memory, but no readahead either, and mmap(2) with MAP_SHARED
  /// fails with ENODEV where libfuse is older than 3.17.
  package var isDirect = false
  /// Where the bytes of a reply come from.
  package var readSource = ReadSource.automatic
  /// True if unknown options are ignored: `mount -s`.
  package var isSloppy = false
  /// Options that the kernel takes as they are, such as `noatime`.
  package var passedOn: [String] = []

  /// How a read is answered.
  package enum ReadSource: String, Sendable {
    /// A long answer from the source's mapping, a short one from a copy.
    case automatic = "auto"
    /// From the source's mapping, whatever its size: writev(2).
    case mapping = "mmap"
    /// Read into this process's memory with pread(2), then check the source again before sending. Detects every change of the
    /// source.
    case copy
  }

  /// No options beyond the ``kernelOptions`` of every mount.
  package init() {}

  /// Options that are accepted without effect: fstab(5)'s own; those that always hold; those about access times, which a
  /// read-only mount never sets and libfuse refuses; and `suid` and `dev`, which mount.fuse3(8) adds by itself when root
  /// mounts.
  private static let ignored: Set<String> = [
    "ro", "rw", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev",
    "nofail", "nosuid", "suid", "nodev", "dev", "noexec", "default_permissions", "async", "nonempty",
    "silent", "loud", "atime", "relatime", "norelatime", "diratime", "nodiratime", "strictatime",
    "nostrictatime", "lazytime", "nolazytime",
  ]
  /// The kernel's own options that libfuse takes too.
  private static let kernels: Set<String> = ["noatime", "sync", "dirsync"]

  /// The options that change something, for completion and for suggestions.
  package static let names: [(name: String, hasValue: Bool)] = [
    ("allow_other", false), ("allow_root", false), ("direct_io", false), ("fsname", true), ("gid", true),
    ("io", true), ("io_uring", false), ("noatime", false), ("subtype", true), ("uid", true), ("umask", true),
  ]

  /// The name of an option, and the value after its first `=`.
  package static func parts(of option: String) -> (name: String, value: String?) {
    // By scalars, since a combining character after the sign would become part of the Character.
    let scalars = option.unicodeScalars
    guard let sign = scalars.firstIndex(of: "=") else { return (option, nil) }
    return (String(scalars[..<sign]), String(scalars[scalars.index(after: sign)...]))
  }

  /// Adds one option: a name or NAME=VALUE. Later ones win.
  package mutating func add(option: String) throws(Problem) {
    let (name, value) = Self.parts(of: option)
    switch (name, value) {
    case ("allow_other", nil): allowOther = true
    case ("allow_root", nil): allowRoot = true
    case ("uid", let value?): owner = try Self.number(value, radix: 10, of: name)
    case ("gid", let value?): group = try Self.number(value, radix: 10, of: name)
    case ("umask", let value?): umask = try Self.number(value, radix: 8, upTo: 0o777, of: name)
    case ("direct_io", nil): isDirect = true
    case ("io_uring", nil):
      guard stmount_has_io_uring() != 0 else {
        throw Problem(description: "io_uring needs libfuse 3.18, and this build has an older one")
      }
      passedOn.append(name)
    case ("io", let value?):
      guard let source = ReadSource(rawValue: value) else {
        throw Problem(description: "io=\(value) is not io=auto, io=mmap or io=copy")
      }
      readSource = source
    case ("fsname", let value?) where !value.isEmpty: source = value
    case ("subtype", let value?) where !value.isEmpty: subtype = value
    case (_, nil) where Self.kernels.contains(name): passedOn.append(name)
    case (_, nil) where Self.ignored.contains(name): break
    case _ where name.hasPrefix("x-") || name == "comment": break
    case ("exec", nil) where !isSloppy:
      throw Problem(description: "option 'exec' is not supported: mounts are always noexec")
    case (_, nil), (_, ""):
      if Self.names.contains(where: { $0.name == name && $0.hasValue }) {
        throw Problem(description: "mount option '\(name)' needs a value: \(name)=…")
      }
      fallthrough
    default:
      if isSloppy { return }
      throw Problem(description: "unknown mount option '\(option)'")
    }
    if allowOther, allowRoot {
      throw Problem(description: "allow_other and allow_root cannot be combined")
    }
  }

  private static func number(
    _ text: String, radix: Int, upTo most: UInt32 = .max, of name: String
  ) throws(Problem) -> UInt32 {
    guard let number = UInt32(text, radix: radix), number <= most, text.first != "+" else {
      let kind = radix == 8 ? "an octal" : "a decimal"
      throw Problem(
        description: "\(name)=\(text) is not \(kind) number up to \(String(most, radix: radix))")
    }
    return number
  }

  /// The options of one `-o`: separated by commas; `\,` is a comma in a value and `\\` a backslash.
  package static func split(_ list: String) -> [String] {
    var options = [""]
    var isEscaped = false
    for character in list.unicodeScalars {
      if isEscaped {
        options[options.count - 1].unicodeScalars.append(character)
        isEscaped = false
      } else if character == "\\" {
        isEscaped = true
      } else if character == "," {
        options.append("")
      } else {
        options[options.count - 1].unicodeScalars.append(character)
      }
    }
    return options.filter { !$0.isEmpty }
  }

  /// The options for libfuse, in its form. The kernel checks permissions, and no file of a stranger's model can be executed
  /// or be a device.
  var kernelOptions: String {
    var options = ["ro", "nosuid", "nodev", "noexec", "default_permissions"]
    options.append("fsname=" + Self.escape(source))
    options.append("subtype=" + Self.escape(subtype))
    if allowOther { options.append("allow_other") }
    if allowRoot { options.append("allow_root") }
    return (options + passedOn).joined(separator: ",")
  }

  private static func escape(_ value: String) -> String {
    var result = ""
    for scalar in value.unicodeScalars {
      if scalar == "," || scalar == "\\" { result += "\\" }
      result.unicodeScalars.append(scalar)
    }
    return result
  }
}
