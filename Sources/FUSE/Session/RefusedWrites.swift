internal import CFuse
internal import SystemPackage

/// Makes every call that would write fail with EROFS. The kernel does that itself while a mount is read-only, but root can
/// make it writable: mount(8) with `-o remount,rw`.
func refuseWrites(_ operations: inout fuse_lowlevel_ops) {
  unsafe operations.setattr = { request, _, _, _, _ in unsafe refuse(request) }
  unsafe operations.mknod = { request, _, _, _, _ in unsafe refuse(request) }
  unsafe operations.mkdir = { request, _, _, _ in unsafe refuse(request) }
  unsafe operations.unlink = { request, _, _ in unsafe refuse(request) }
  unsafe operations.rmdir = { request, _, _ in unsafe refuse(request) }
  unsafe operations.symlink = { request, _, _, _ in unsafe refuse(request) }
  unsafe operations.rename = { request, _, _, _, _, _ in unsafe refuse(request) }
  unsafe operations.link = { request, _, _, _ in unsafe refuse(request) }
  unsafe operations.create = { request, _, _, _, _ in unsafe refuse(request) }
  unsafe operations.setxattr = { request, _, _, _, _, _ in unsafe refuse(request) }
  unsafe operations.removexattr = { request, _, _ in unsafe refuse(request) }
  unsafe operations.fallocate = { request, _, _, _, _, _ in unsafe refuse(request) }
  unsafe operations.copy_file_range = { request, _, _, _, _, _, _, _, _ in unsafe refuse(request) }
  unsafe operations.write = { request, inode, _, _, _, _ in
    guard let request = unsafe request else { return }
    let context = unsafe SessionContext.of(request)
    unsafe refuse(request)
    // Changes through a mapping are in the page cache, where all readers see them.
    context?.drop(InodeNumber(number: inode))
  }
}

private func refuse(_ request: fuse_req_t?) {
  guard let request = unsafe request else { return }
  unsafe Reply(owning: request).error(.readOnlyFileSystem)
}
