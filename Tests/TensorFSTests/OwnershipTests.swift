import Fixtures
import Glibc
import SystemPackage
import Testing

@testable import FUSE
import Linux
@testable import Models
import Safetensors
@testable import TensorFiles
@testable import TensorFS

@Suite("Owners and permissions") struct OwnershipTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// A source with these permissions and times.
  private func shard(_ name: String, mode: UInt32, seconds: Int = 1000, nanoseconds: Int = 0) throws -> Shard
  {
    let path = try directory.write(name, SafetensorsFile(.init(name, "U8", [1])))
    try path.setTimes(access: (seconds + 1, nanoseconds), modification: (seconds, nanoseconds))
    try path.setPermissions(mode)
    return try Shard(opening: path)
  }

  @Test(
    "A file has only its source's read bits, and everyone who can read a directory can search it",
    arguments: [
      (0o644, 0o444, 0o555), (0o600, 0o400, 0o500), (0o640, 0o440, 0o550), (0o777, 0o444, 0o555),
      (0o444, 0o444, 0o555), (0o604, 0o404, 0o505), (0o700, 0o400, 0o500), (0o6755, 0o444, 0o555),
    ] as [(UInt32, UInt32, UInt32)])
  func modes(source: UInt32, file: UInt32, directory: UInt32) throws {
    let shard = try shard("a", mode: source)
    let attributes = Ownership().file(shard)
    #expect(attributes.permissions == file)
    #expect(attributes.kind == .file)
    #expect(Ownership().shared(.file, [shard]).permissions == file)
    #expect(Ownership().shared(.directory, [shard]).permissions == directory)
    #expect(Ownership().shared(.directory, [shard]).kind == .directory)
  }

  @Test(
    "A umask replaces the source's mode",
    arguments: [
      (0, 0o444, 0o555), (0o022, 0o444, 0o555), (0o077, 0o400, 0o500), (0o137, 0o440, 0o440),
      (0o111, 0o444, 0o444), (0o777, 0, 0), (0o444, 0, 0o111),
    ] as [(UInt32, UInt32, UInt32)])
  func umask(umask: UInt32, file: UInt32, directory: UInt32) throws {
    let shard = try shard("a", mode: 0o600)
    let ownership = Ownership(umask: umask)
    #expect(ownership.file(shard).permissions == file)
    #expect(ownership.shared(.directory, [shard]).permissions == directory)
  }

  @Test("Owner and group are the source's unless options set them")
  func owner() throws {
    let shard = try shard("a", mode: 0o644)
    #expect(Ownership().file(shard).owner == geteuid())
    #expect(Ownership().file(shard).group == shard.file.status.groupID.rawValue)
    let given = Ownership(owner: 12, group: 34)
    for attributes in [given.file(shard), given.shared(.directory, [shard])] {
      #expect((attributes.owner, attributes.group) == (12, 34))
      #expect(attributes.permissions & 0o444 == 0o444)
    }
    #expect(Ownership(owner: 12).file(shard).group == shard.file.status.groupID.rawValue)
    #expect(Ownership(group: 34).file(shard).owner == geteuid())
  }

  @Test(
    "Entries derived from several sources have the intersection of their permissions and the newest times")
  func shared() throws {
    let shards = [
      try shard("a", mode: 0o640, seconds: 3000, nanoseconds: 5),
      try shard("b", mode: 0o604, seconds: 3000, nanoseconds: 7),
      try shard("c", mode: 0o644, seconds: 2000, nanoseconds: 9),
    ]
    let file = Ownership().shared(.file, shards)
    #expect(file.permissions == 0o400)
    #expect(Ownership().shared(.directory, shards).permissions == 0o500)
    #expect((file.modificationTime.seconds, file.modificationTime.nanoseconds) == (3000, 7))
    #expect((file.accessTime.seconds, file.accessTime.nanoseconds) == (3001, 7))
    let changes = shards.map { ($0.file.status.st_ctim.tv_sec, $0.file.status.st_ctim.tv_nsec) }
    let newest = changes.max { $0 < $1 }
    #expect(file.changeTime.seconds == newest?.0 && file.changeTime.nanoseconds == newest?.1)
  }

  @Test("Each file has its own source's times, even before 1970")
  func times() throws {
    let attributes = Ownership().file(try shard("a", mode: 0o644, seconds: -5, nanoseconds: 999_999_999))
    #expect(attributes.modificationTime.seconds == -5)
    #expect(attributes.modificationTime.nanoseconds == 999_999_999)
    #expect(attributes.accessTime.seconds == -4)
  }

  @Test("Entries derived from several sources have the first source's owner")
  func firstOwner() throws {
    try #require(geteuid() == 0, "only root can give files away")
    for (name, owner) in [("a", 11), ("b", 22)] as [(String, UInt32)] {
      try directory.write(name, SafetensorsFile(.init(name, "U8", [1]))).setOwner(owner, group: owner + 1)
    }
    let shards = try ["a", "b"].map { try Shard(opening: directory.path.appending($0)) }
    let attributes = Ownership().shared(.directory, shards)
    #expect((attributes.owner, attributes.group) == (11, 12))
    #expect(Ownership().file(shards[1]).owner == 22)
  }
}
