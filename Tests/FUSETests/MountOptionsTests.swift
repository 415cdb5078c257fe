import Testing

@testable import FUSE
import Linux

@Suite("Options after -o") struct MountOptionsTests {
  private func options(_ lists: String...) throws -> MountOptions {
    var options = MountOptions()
    for option in lists.flatMap(MountOptions.split) { try options.add(option: option) }
    return options
  }

  /// The options of a default mount, changed by `change`.
  private func defaults(_ change: (inout MountOptions) -> Void) -> MountOptions {
    var options = MountOptions()
    change(&options)
    return options
  }

  @Test("Each option does what its name says")
  func eachOption() throws {
    #expect(try options("allow_other") == defaults { $0.allowOther = true })
    #expect(try options("allow_root") == defaults { $0.allowRoot = true })
    #expect(try options("uid=1000") == defaults { $0.owner = 1000 })
    #expect(try options("gid=0") == defaults { $0.group = 0 })
    #expect(try options("uid=4294967295") == defaults { $0.owner = .max })
    #expect(try options("umask=027") == defaults { $0.umask = 0o027 })
    #expect(try options("umask=0777") == defaults { $0.umask = 0o777 })
    #expect(try options("fsname=my model") == defaults { $0.source = "my model" })
    #expect(try options("fsname=a=b") == defaults { $0.source = "a=b" })
    #expect(try options("subtype=other") == defaults { $0.subtype = "other" })
    #expect(try options("direct_io") == defaults { $0.isDirect = true })
    #expect(try options("io=copy") == defaults { $0.readSource = .copy })
    #expect(try options("io=mmap") == defaults { $0.readSource = .mapping })
    #expect(try options("io=copy,io=auto") == MountOptions())
    for name in ["noatime", "sync", "dirsync"] {
      #expect(try options(name) == defaults { $0.passedOn = [name] })
    }
  }

  @Test(
    "Options that fstab and mount(8) pass to every helper are accepted and have no effect",
    arguments: [
      "", ",", ",,", "ro", "rw", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group",
      "_netdev", "nofail", "nosuid", "nodev", "noexec", "default_permissions", "async", "nonempty", "silent",
      "loud",
      "atime", "relatime", "norelatime", "diratime", "nodiratime", "strictatime", "nostrictatime", "lazytime",
      "nolazytime",
      "x-systemd.automount", "x-systemd.idle-timeout=60", "x-gvfs-show", "comment=a model", "comment",
      "rw,nofail,x-systemd.automount,,user",
    ])
  func noise(list: String) throws {
    #expect(try options(list) == MountOptions())
  }

  @Test("dev and suid, which mount.fuse3(8) appends to everything, do no harm")
  func devAndSuid() throws {
    let options = try options("ro,dev,suid")
    #expect(options == MountOptions())
    #expect(options.kernelOptions.split(separator: ",").contains("nodev"))
    #expect(options.kernelOptions.split(separator: ",").contains("nosuid"))
  }

  @Test("The last of several values counts, in one list and over several")
  func lastWins() throws {
    #expect(try options("uid=1,uid=2", "uid=3").owner == 3)
    #expect(try options("fsname=a,fsname=b").source == "b")
  }

  @Test("A backslash escapes a comma and a backslash")
  func escapes() throws {
    #expect(try options(#"fsname=a\,b,uid=7"#) == defaults { ($0.source, $0.owner) = ("a,b", 7) })
    #expect(try options(#"fsname=a\\,uid=7"#) == defaults { ($0.source, $0.owner) = (#"a\"#, 7) })
    #expect(try options(#"fsname=a\\\,b"#).source == #"a\,b"#)
    #expect(try options(#"fsname=a\b"#).source == "ab")
    #expect(try options(#"fsname=\#u{301}\,é"#).source == "\u{301},é", "a comma may be part of a Character")
  }

  @Test(
    "An invalid value is refused, and named",
    arguments: [
      ("uid=", "uid= is not a decimal number up to 4294967295"),
      ("uid=-1", "uid=-1 is not a decimal number up to 4294967295"),
      ("uid=+1", "uid=+1 is not a decimal number up to 4294967295"),
      ("uid=4294967296", "uid=4294967296 is not a decimal number up to 4294967295"),
      ("uid=root", "uid=root is not a decimal number up to 4294967295"),
      ("uid=0x10", "uid=0x10 is not a decimal number up to 4294967295"),
      ("gid= 5", "gid= 5 is not a decimal number up to 4294967295"),
      ("umask=08", "umask=08 is not an octal number up to 777"),
      ("umask=1000", "umask=1000 is not an octal number up to 777"),
      ("io=", "io= is not io=auto, io=mmap or io=copy"),
      ("io=splice", "io=splice is not io=auto, io=mmap or io=copy"),
      ("umask=u+r", "umask=u+r is not an octal number up to 777"),
      ("umask", "mount option 'umask' needs a value: umask=…"),
      ("fsname", "mount option 'fsname' needs a value: fsname=…"),
      ("fsname=", "mount option 'fsname' needs a value: fsname=…"),
      ("subtype=", "mount option 'subtype' needs a value: subtype=…"),
      ("exec", "option 'exec' is not supported: mounts are always noexec"),
    ])
  func badValues(list: String, problem: String) {
    #expect(throws: MountOptions.Problem(description: problem)) { try options(list) }
  }

  @Test(
    "An unknown option is refused, and named",
    arguments: [
      "bogus", "bogus=1", "bogus=", "allow_other=1", "ro=1", "noatime=1", "=", "=x", " ro", "RO", "x",
      "max_read=4096", "auto_unmount", "direct_io=1",
    ])
  func unknown(option: String) {
    #expect(throws: MountOptions.Problem(description: "unknown mount option '\(option)'")) {
      try options("ro,\(option)")
    }
  }

  @Test("allow_other and allow_root cannot be combined, in one list and over several")
  func exclusive() {
    let problem = MountOptions.Problem(description: "allow_other and allow_root cannot be combined")
    #expect(throws: problem) { try options("allow_other,allow_root") }
    #expect(throws: problem) { try options("allow_root", "allow_other") }
  }

  @Test("Every mount is read-only, without devices, setuid and execution, and checked by the kernel")
  func kernelOptions() throws {
    #expect(
      MountOptions().kernelOptions
        == "ro,nosuid,nodev,noexec,default_permissions,fsname=stmount,subtype=stmount")
    #expect(
      try options("rw,suid,dev,allow_other,noatime,sync,fsname=m,subtype=s,uid=1,umask=0").kernelOptions
        == "ro,nosuid,nodev,noexec,default_permissions,fsname=m,subtype=s,allow_other,noatime,sync")
    #expect(try options("allow_root").kernelOptions.hasSuffix(",allow_root"))
  }

  @Test("A comma or backslash in the source's name cannot become another option")
  func kernelEscapes() {
    var options = MountOptions()
    options.source = #"/a,dev\b\\,suid é"#
    options.subtype = "s,t"
    #expect(
      options.kernelOptions
        == #"ro,nosuid,nodev,noexec,default_permissions,fsname=/a\,dev\\b\\\\\,suid é,subtype=s\,t"#)
  }

  @Test("libfuse takes every option that is passed on to it")
  func passedOn() async {
    await #expect(processExitsWith: .success) {
      for list in ["", "noatime", "atime", "sync", "dirsync", "allow_root", #"fsname=a\,b\\"#] {
        var options = MountOptions()
        for option in MountOptions.split(list) { try options.add(option: option) }
        _ = try Session(fileSystem: EmptyFileSystem(), options: options)
      }
    }
  }

  @Test("An option that libfuse refuses is an error that quotes libfuse")
  func refusedByLibrary() async {
    await #expect(processExitsWith: .success) {
      var options = MountOptions()
      options.passedOn = ["bogus"]
      let error = #expect(throws: MountError.self) {
        _ = try Session(fileSystem: EmptyFileSystem(), options: options)
      }
      #expect(error?.kind == .system)
      #expect(
        error?.description == "libfuse refused the mount options: fuse: unknown option(s): `-o bogus'")
    }
  }
}
