import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// Root can make any mount writable: mount(8) with `-o remount,rw`.
  @Suite struct RemountTests {
    private static let tensor = SafetensorsFile.Tensor("w", "U8", [3_000_000])
    private let files: TemporaryDirectory
    private let source: FilePath

    init() throws {
      files = try TemporaryDirectory()
      source = try files.write("m.safetensors", SafetensorsFile(Self.tensor))
    }

    private func makeWritable(_ mount: ForegroundMount) async throws {
      try await Command.output(of: "mount", "-i", "-o", "remount,rw", "\(mount.path)")
    }

    private func isReadOnly(_ mount: ForegroundMount) throws -> Bool {
      let info = try #require(try MountInfo.all(at: mount.path).last)
      return info.options.contains("ro") && info.fileSystemOptions.contains("ro")
    }

    /// Opens a file for writing after a remount, while the daemon is stopped and cannot undo the remount.
    private func opened(_ mount: ForegroundMount) async throws -> FileDescriptor {
      // After the first open and the first close, the kernel sends no more of these requests.
      #expect(try OpenFile(mount.file("w")).bytes(1, at: 0) == [Self.tensor.data[0]])
      // A remount makes the kernel drop the names of files that are not open.
      let file = try OpenFile(mount.file("w"))
      expectSame(try file.bytes(4096, at: 0), Self.tensor.data.prefix(4096), "before")
      mount.send(SIGSTOP)
      try await makeWritable(mount)
      return try withExtendedLifetime(file) { try FileDescriptor.open(mount.file("w"), .readWrite) }
    }

    @Test("A mount that was remounted writable is made read-only again, with a line in the log")
    func restored() async throws {
      let status = try await withForegroundMount(source) { mount in
        try await makeWritable(mount)
        #expect(try await eventually { try isReadOnly(mount) })
        #expect(throws: Errno.readOnlyFileSystem) { try FileDescriptor.open(mount.file("w"), .readWrite) }
        expectSame(try OpenFile(mount.file("w")).bytes(), Self.tensor.data, "w")
        #expect(try await eventually { try mount.log.contains { $0.contains("read-only again") } })
        mount.send(SIGTERM)
      }
      #expect(status == 0)
    }

    @Test("Every call that would write fails with EROFS while the mount is writable")
    func everythingElse() async throws {
      let status = try await withForegroundMount(source) { mount in
        let file = try await opened(mount)
        mount.send(SIGCONT)
        let (path, other) = ("\(mount.file("w"))", "\(mount.file("other"))")
        func expectRefused(_ what: String, _ result: @autoclosure () -> Int) {
          #expect(result() == -1 && errno == EROFS, "\(what): \(Errno(rawValue: errno))")
        }
        expectRefused("write", unsafe pwrite(file.rawValue, "x", 1, 0))
        expectRefused("truncate", Int(unsafe truncate(path, 0)))
        expectRefused("fallocate", Int(posix_fallocate(file.rawValue, 0, 1) == EROFS ? -1 : 0))
        expectRefused("chmod", Int(unsafe chmod(path, 0o644)))
        expectRefused("chown", Int(unsafe chown(path, 1, 1)))
        expectRefused("utimes", Int(unsafe utimensat(AT_FDCWD, path, nil, 0)))
        expectRefused("unlink", Int(unsafe unlink(path)))
        expectRefused("rename", Int(unsafe rename(path, other)))
        expectRefused("link", Int(unsafe link(path, other)))
        expectRefused("symlink", Int(unsafe symlink("w", other)))
        expectRefused("mkdir", Int(unsafe mkdir(other, 0o755)))
        expectRefused("mkfifo", Int(unsafe mkfifo(other, 0o644)))
        expectRefused("create", Int(unsafe Glibc.creat(other, 0o644)))
        for change in [["-n", "user.x", "-v", "x"], ["-x", "user.safetensors.name"]] {
          let outcome = try await Command.run("setfattr", change + [path])
          #expect(outcome.error.contains("Read-only file system"), "\(outcome.error)")
        }
        try file.close()
        #expect(try await eventually { try isReadOnly(mount) })
        expectSame(try OpenFile(mount.file("w")).bytes(), Self.tensor.data, "w afterwards")
        mount.send(SIGTERM)
      }
      #expect(status == 0)
    }

    @Test(
      "A mount ends if a file stays open for writing, so that changes through a mapping do not stay visible"
    )
    func mapping() async throws {
      let status = try await withForegroundMount(source) { mount in
        let file = try await opened(mount)
        let address = unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.rawValue, 0)
        let mapping = unsafe try #require(address)
        try #require(unsafe mapping != MAP_FAILED)
        defer {
          unsafe munmap(mapping, 4096)
          try? file.close()
        }
        unsafe mapping.storeBytes(of: ~Self.tensor.data[0], as: UInt8.self)
        mount.send(SIGCONT)
        #expect(try await eventually { try !mount.isMounted })
        #expect(try mount.log.contains { $0.contains("cannot be made read-only again") })
      }
      #expect(status == EX_OSERR)
    }
  }
}
