import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// The effects of `-o`, and the mount table.
  @Suite struct OptionTests {
    private static let model = SafetensorsFile(.init("w", "U8", [100]), .init("a/b", "U8", [1]))
    private static let always: Set<Substring> = ["ro", "nosuid", "nodev", "noexec"]

    @Test(
      "The mount table shows type fuse.stmount, the model's path, read-only, and noexec"
    )
    func mountTable() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("dir with space/m,odd.safetensors", Self.model)
      let plain = try files.write("m.safetensors", Self.model)
      try await withMount(plain) { mount in
        let info = try mount.info
        #expect(info.type == "fuse.stmount")
        #expect(info.source == "\(plain)")
        #expect(info.options.isSuperset(of: Self.always))
        #expect(info.fileSystemOptions.contains("default_permissions"))
        #expect(!info.fileSystemOptions.contains("allow_other"))
      }
      try await withMount(path) { mount in
        let arguments = ["--mountpoint", "\(mount.path)", "-n", "-o"]
        func findmnt(_ column: String) async throws -> String {
          let outcome = try await Command.run("findmnt", arguments + [column])
          return outcome.text
        }
        #expect(try await findmnt("FSTYPE") == "fuse.stmount")
        #expect(try await findmnt("SOURCE") == "\(path)")
        let options = Set(try await findmnt("OPTIONS").split(separator: ","))
        #expect(options.isSuperset(of: Self.always.union(["default_permissions"])))
      }
    }

    @Test("A relative source is shown by its absolute path, under its own name even if it is a link")
    func relativeSource() async throws {
      let files = try TemporaryDirectory()
      try files.write("blob", Self.model)
      try files.makeLink("m.safetensors", to: "blob")
      let mountPoint = try files.makeDirectory("mnt")
      let outcome = try await Command.stmount(["./sub/../m.safetensors", "mnt"], directory: files.path)
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      // The directory "sub" does not exist.
      #expect(outcome.status == EX_NOINPUT)
      let second = try await Command.stmount(["./m.safetensors", "mnt"], directory: files.path)
      #expect(second.status == 0)
      #expect(try MountInfo.all(at: mountPoint).last?.source == "\(files.path.appending("m.safetensors"))")
    }

    @Test("uid, gid and umask replace the source's owner, group and mode")
    func ownership() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      try #require(unsafe chmod("\(path)", 0o600) == 0)
      for options in [
        ["-o", "uid=1234,gid=4321,umask=027"], ["-ouid=1234", "-o", "gid=4321", "-o", "umask=0027"],
      ] {
        try await withMount(path, options: options) { mount in
          for (name, mode) in ["": S_IFDIR | 0o550, "a": S_IFDIR | 0o550, "w": S_IFREG | 0o440] {
            let status = try Stat(mount.file(name))
            #expect(status.userID.rawValue == 1234)
            #expect(status.groupID.rawValue == 4321)
            #expect(status.mode.rawValue == mode)
          }
        }
      }
    }

    @Test("umask=0 lets all users read whatever the source's mode, and never write")
    func openUmask() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      try #require(unsafe chmod("\(path)", 0o600) == 0)
      try await withMount(path, options: ["-o", "umask=0"]) { mount in
        let (file, directory) = try (Stat(mount.file("w")), Stat(mount.file("a")))
        #expect(file.mode.rawValue == S_IFREG | 0o444)
        #expect(directory.mode.rawValue == S_IFDIR | 0o555)
      }
    }

    @Test("allow_other warns of a source that only its owner may read, and not with a umask")
    func privateSource() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      let mountPoint = try files.makeDirectory("mnt")
      for (mode, options, count) in [
        (0o600, "allow_other", 1), (0o604, "allow_other", 0), (0o600, "allow_other,umask=022", 0),
      ] as [(mode_t, String, Int)] {
        try #require(unsafe chmod("\(path)", mode) == 0)
        let outcome = try await Command.stmount(["-o", options, "\(path)", "\(mountPoint)"])
        #expect(outcome.status == 0)
        #expect(
          outcome.errorLines.count { $0.contains("despite allow_other, since only its owner may read") }
            == count)
        try await Command.output(of: "umount", "\(mountPoint)")
      }
    }

    @Test("The mount table shows fsname and subtype; the last of two values counts")
    func names() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      try await withMount(path, options: ["-o", #"fsname=one,fsname=my\,model,subtype=weights"#]) { mount in
        let info = try mount.info
        #expect(info.source == "my,model")
        #expect(info.type == "fuse.weights")
        #expect(info.options.isSuperset(of: Self.always))
      }
    }

    @Test(
      "Options that fstab passes are accepted, and the mount does not change",
      arguments: [
        "rw", "ro", "defaults", "auto", "noauto", "nofail", "_netdev", "user", "users", "nouser",
        "x-systemd.automount", "x-systemd.requires=network.target", "x-gvfs-show", "noatime",
        "nosuid,nodev,noexec", "rw,dev,suid",
        "rw,auto,noauto,nofail,_netdev,user,defaults,x-systemd.automount", "", ",,",
      ])
    func fstab(options: String) async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      try await withMount(path, options: ["-o", options]) { mount in
        let info = try mount.info
        #expect(info.options.isSuperset(of: Self.always))
        #expect(info.fileSystemOptions.contains("default_permissions"))
        #expect(try mount.bytes("w") == Self.model.tensors[0].data)
      }
    }

    @Test(
      "mount -t fuse.stmount mounts, as for fstab",
      arguments: ["defaults", "noauto,nofail,user,uid=1234"])
    func mountCommand(options: String) async throws {
      let space = try PrivateNamespace(model: Self.model)
      let output = try await space.run(
        """
        # mount(8) looks for helpers in the usual places only.
        mount --bind "$directory/bin" /usr/local/sbin
        mount -t fuse.stmount -o "$1" "$model" "$mnt"
        findmnt -n -o FSTYPE --mountpoint "$mnt"
        cmp "$mnt/w" "$directory/w" && umount "$mnt"
        """, options)
      #expect(output == "fuse.stmount")
    }

    @Test("Options may follow the source and the mount point, as mount(8) writes them")
    func trailingOptions() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      let mountPoint = try files.makeDirectory("mnt")
      defer { _ = unsafe umount2("\(mountPoint)", Int32(MNT_DETACH)) }
      let outcome = try await Command.stmount(["\(path)", "\(mountPoint)", "-o", "rw,gid=7"])
      #expect(outcome.status == 0)
      #expect(try Stat(mountPoint).groupID.rawValue == 7)
    }
  }
}
