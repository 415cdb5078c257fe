internal import FUSE
internal import Glibc
internal import Models
internal import SystemPackage
internal import TensorFiles

/// Owner, group, mode and times: those of the sources, or of the mount's options.
struct Ownership: Sendable {
  /// Owner and group, if the mount's options set them.
  var owner: UInt32?
  var group: UInt32?
  /// The permission bits to remove; the sources' modes are then ignored.
  var umask: UInt32?

  /// The attributes of a tensor's file, from its shard's files. The caller sets inode and size.
  func file(_ shard: Shard) -> Attributes { attributes(.file, shard.files.map(\.status)) }

  /// The attributes of a directory, or of a file derived from several sources: the first source's owner, the
  /// newest times, and the intersection of all permissions, so that no user sees a source that they could not
  /// read.
  func shared(_ kind: Attributes.Kind, _ shards: [Shard]) -> Attributes {
    attributes(kind, shards.map(\.file.status))
  }

  private func attributes(_ kind: Attributes.Kind, _ sources: [Stat]) -> Attributes {
    let granted = sources.reduce(UInt32(0o444)) { $0 & UInt32($1.permissions.rawValue) }
    let readable = umask.map { 0o444 & ~$0 } ?? granted
    // Everyone who can read a directory can search it. With a umask: 0555 without its bits.
    let searchable = umask.map { 0o111 & ~$0 } ?? (readable >> 2)
    return Attributes(
      inode: .root, kind: kind, permissions: kind == .directory ? readable | searchable : readable,
      linkCount: 1, size: 0,
      owner: owner ?? sources.first?.userID.rawValue ?? 0,
      group: group ?? sources.first?.groupID.rawValue ?? 0,
      accessTime: newest(sources.map(\.st_atim)),
      modificationTime: newest(sources.map(\.st_mtim)),
      changeTime: newest(sources.map(\.st_ctim)))
  }
}

extension Ownership {
  /// The latest of the times; 1970 if there are none.
  private func newest(_ times: [timespec]) -> Attributes.Time {
    let latest = times.max { ($0.tv_sec, $0.tv_nsec) < ($1.tv_sec, $1.tv_nsec) }
    return Attributes.Time(seconds: latest?.tv_sec ?? 0, nanoseconds: latest?.tv_nsec ?? 0)
  }
}
