import Fixtures
import Glibc
import SystemPackage
import Testing

/// Sets a file's times: utimensat(2).
func setTimes(of path: FilePath, access: (Int, Int), modification: (Int, Int)) throws {
  let times = [
    timespec(tv_sec: access.0, tv_nsec: access.1),
    timespec(tv_sec: modification.0, tv_nsec: modification.1),
  ]
  if unsafe utimensat(AT_FDCWD, "\(path)", times, 0) != 0 { throw Errno(rawValue: errno) }
}

extension MountTests {
  /// The results of stat(2) and statfs(2).
  @Suite struct AttributeTests {
    private static let model = SafetensorsFile(
      .init("w", "U8", [5000]), .init("a/b/c", "F32", [128]), .init("a/b/d", "U8", [1]),
      .init("a/e", "U8", [0]))

    @Test(
      "A file's mode is the source's without write and execute bits; a directory has x for each r",
      arguments: [
        (0o644, 0o444, 0o555), (0o600, 0o400, 0o500), (0o755, 0o444, 0o555), (0o640, 0o440, 0o550),
        (0o6777, 0o444, 0o555), (0o200, 0o000, 0o000),
      ] as [(mode_t, mode_t, mode_t)])
    func modes(source: mode_t, file: mode_t, directory: mode_t) async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      try #require(unsafe chmod("\(path)", source) == 0)
      try await withMount(path) { mount in
        for name in ["w", "a/b/c", "metadata.json"] {
          let status = try Stat(mount.file(name))
          #expect(status.mode.rawValue == S_IFREG | file, "\(name)")
        }
        for name in ["", "a", "a/b"] {
          let status = try Stat(mount.file(name))
          #expect(status.mode.rawValue == S_IFDIR | directory, "\(name)")
        }
      }
    }

    @Test("Owner, group and times are the source's, to the nanosecond, on files and directories")
    func ownerAndTimes() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      try #require(unsafe chown("\(path)", 1234, 4321) == 0)
      // Reading does not update this access time (relatime): it is newer than the other times, and less than a day old.
      let now = Int(time(nil))
      try setTimes(of: path, access: (now, 987_654_321), modification: (1_234_567_890, 123_456_789))
      let source = try Stat(path)
      try await withMount(path) { mount in
        for name in ["w", "a/b/c", "a", "", "metadata.json"] {
          let status = try Stat(mount.file(name))
          #expect(status.userID.rawValue == 1234)
          #expect(status.groupID.rawValue == 4321)
          for time in [\Stat.st_atim, \.st_mtim, \.st_ctim] {
            #expect(status[keyPath: time].tv_sec == source[keyPath: time].tv_sec, "\(name)")
            #expect(status[keyPath: time].tv_nsec == source[keyPath: time].tv_nsec, "\(name)")
          }
        }
      }
    }

    @Test("A size is the tensor's; st_blocks has units of 512 bytes, rounded up, so du is correct")
    func sizes() async throws {
      let files = try TemporaryDirectory()
      try await withMount(try files.write("m.safetensors", Self.model)) { mount in
        for tensor in Self.model.tensors {
          let status = try Stat(mount.file(String(decoding: tensor.name, as: UTF8.self)))
          #expect(status.size == Int64(tensor.data.count))
          #expect(status.blocksAllocated == Int64((tensor.data.count + 511) / 512))
        }
      }
    }

    @Test("A file has one link; a directory has two, plus one for each directory in it")
    func links() async throws {
      let files = try TemporaryDirectory()
      let model = SafetensorsFile(
        .init("a/x", "U8", [1]), .init("b/x", "U8", [1]), .init("a/c/d/x", "U8", [1]), .init("y", "U8", [1]))
      try await withMount(try files.write("m.safetensors", model)) { mount in
        for (name, count) in ["": 4, "a": 3, "a/c": 3, "a/c/d": 2, "b": 2, "y": 1, "metadata.json": 1] {
          let status = try Stat(mount.file(name))
          #expect(status.linkCount == count, "\(name)")
        }
      }
    }

    @Test("Inode numbers are unique, and the same on every mount of the same source")
    func inodes() async throws {
      let files = try TemporaryDirectory()
      let path = try files.write("m.safetensors", Self.model)
      func numbers(_ mount: MountedModel) throws -> [UInt64] {
        let walk = try Walk(mount.path)
        return try (walk.files + walk.directories + [FilePath("")])
          .sorted { $0.string < $1.string }
          .map { try UInt64(Stat(mount.path.appending($0.components)).inode.rawValue) }
      }
      let first = try await withMount(path) { try numbers($0) }
      #expect(first.count == 8)
      #expect(Set(first).count == first.count)
      #expect(!first.contains(0))
      try await withMount(path) { one in
        try await withMount(path) { two in
          let both = try (numbers(one), numbers(two))
          #expect(both == (first, first))
          #expect(try Stat(one.path).deviceID != Stat(two.path).deviceID)
        }
      }
    }

    @Test("statfs reports a read-only, full file system, as large as the tensors")
    func fileSystem() async throws {
      let files = try TemporaryDirectory()
      try await withMount(try files.write("m.safetensors", Self.model)) { mount in
        var status = statvfs()
        try #require(unsafe statvfs("\(mount.path)", &status) == 0)
        #expect(status.f_flag & UInt(ST_RDONLY) != 0)
        #expect(status.f_bsize == 4096)
        let size = Int(status.f_blocks * status.f_frsize)
        let tensors = Self.model.tensors.reduce(0) { $0 + $1.data.count }
        #expect(size >= tensors && size < tensors + 3 * 4096)
        #expect(status.f_bfree == 0 && status.f_bavail == 0)
        // The mount has four tensors, metadata.json, and the directories "", a, a/b.
        #expect(status.f_files == 8)
        #expect(status.f_ffree == 0 && status.f_favail == 0)
        #expect(status.f_namemax == 255)
      }
    }

    @Test(
      "Entries of several sources have the newest times, and the intersection of the permissions")
    func severalSources() async throws {
      let files = try TemporaryDirectory()
      let one = try files.write("1.safetensors", SafetensorsFile(.init("a", "U8", [1])))
      let two = try files.write("2.safetensors", SafetensorsFile(.init("b", "U8", [1])))
      try #require(unsafe chmod("\(one)", 0o640) == 0)
      try setTimes(of: one, access: (1, 0), modification: (2000, 5))
      try setTimes(of: two, access: (1, 0), modification: (1000, 6))
      try await withMount(one, two) { mount in
        let root = try Stat(mount.path)
        let document = try Stat(mount.file("metadata.json"))
        let first = try Stat(mount.file("a"))
        let second = try Stat(mount.file("b"))
        #expect(root.mode.rawValue == S_IFDIR | 0o550)
        #expect(document.mode.rawValue == S_IFREG | 0o440)
        #expect(first.mode.rawValue == S_IFREG | 0o440)
        #expect(second.mode.rawValue == S_IFREG | 0o444)
        #expect(root.st_mtim.tv_sec == 2000 && document.st_mtim.tv_sec == 2000)
        #expect(first.st_mtim.tv_sec == 2000 && second.st_mtim.tv_sec == 1000)
      }
    }
  }
}
