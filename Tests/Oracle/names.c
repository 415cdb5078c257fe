// Paths: attributes, permissions, extended attributes, and all calls that write.
#include "oracle.h"
#include <sys/xattr.h>

void status(void) {
  struct stat found[SIDES];
  struct opened *file = someFile();
  long result;
  if (file && below(3) == 0) {
    note("fstat '%s'", file->entry->path);
    result = BOTH("fstat", fstat(file->fd[side], &found[side]));
  } else {
    const char *path = somePath();
    int flags = below(2) ? AT_SYMLINK_NOFOLLOW : 0;
    note("fstatat '%s' %#x", path, flags);
    result = BOTH("fstatat", fstatat(roots[side], path, &found[side], flags));
  }
  if (!result) expectSameStatus(found);
}

void extendedStatus(void) {
  const char *path = somePath();
  const unsigned flags[] = { 0, AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC, AT_SYMLINK_NOFOLLOW };
  unsigned flag = flags[below(sizeof flags / sizeof *flags)];
  struct statx found[SIDES];
  note("statx '%s' %#x", path, flag);
  if (BOTH("statx", statx(roots[side], path, flag, STATX_BASIC_STATS, &found[side]))) return;
  struct stat basic[SIDES];
  for (int side = 0; side < SIDES; side++) {
    const struct statx *all = &found[side];
    if ((all->stx_mask & STATX_BASIC_STATS) != STATX_BASIC_STATS) differ("statx leaves out %#x", ~all->stx_mask);
    basic[side] = (struct stat){
      .st_ino = all->stx_ino, .st_mode = all->stx_mode, .st_nlink = all->stx_nlink, .st_uid = all->stx_uid,
      .st_gid = all->stx_gid, .st_size = all->stx_size, .st_blocks = all->stx_blocks,
      .st_mtim = { all->stx_mtime.tv_sec, all->stx_mtime.tv_nsec },
    };
  }
  expectSameStatus(basic);
}

void checkAccess(void) {
  const char *path = somePath();
  int mode = below(8), flags = below(2) ? AT_EACCESS : 0;
  note("faccessat '%s' %d %#x", path, mode, flags);
  BOTH("faccessat", faccessat(roots[side], path, mode, flags));
}

void readLink(void) {
  const char *path = somePath();
  note("readlink '%s'", path);
  BOTH("readlink", readlinkat(roots[side], path, buffers[side], PAGE));
}

// MARK: - Extended attributes

// Opens a file for calls on extended attributes, which take a descriptor but no directory.
static const struct entry *openForAttributes(int fd[SIDES]) {
  const struct entry *entry = someEntry();
  for (int side = 0; side < SIDES; side++)
    if ((fd[side] = openat(roots[side], entry->path, O_RDONLY | O_CLOEXEC)) < 0) fail("open", entry->path);
  return entry;
}

static void closeBoth(const int fd[SIDES]) {
  for (int side = 0; side < SIDES; side++) close(fd[side]);
}

static size_t someRoom(void) { return below(4) == 0 ? 0 : below(2) ? below(80) : 1 << 16; }

void getAttribute(void) {
  const char *const names[] = {
    "user.safetensors.name", "user.safetensors.dtype", "user.safetensors.shape", "user.safetensors.source",
    "user.safetensors.offset", "user.safetensors.nix", "user.safetensors", "user", "", "nix",
    "trusted.nix", "security.nix", "security.capability", "system.posix_acl_access",
  };
  const char *name = names[below(sizeof names / sizeof *names)];
  size_t room = someRoom();
  int fd[SIDES];
  const struct entry *entry = openForAttributes(fd);
  note("fgetxattr '%s' %s in %zu bytes", entry->path, name, room);
  for (int side = 0; side < SIDES; side++) memset(buffers[side], 0xA5, room);
  // Documented: the whole file system has no attributes outside of `user.`. Other file systems report only that this name, or this
  // kind of file, has none.
  bool isOther = strncmp(name, "user.", 5) && strchr(name, '.');
  long got = BOTH("fgetxattr", ({
    long result = fgetxattr(fd[side], name, buffers[side], room);
    if (side == PLAIN && isOther && result < 0 && errno == ENODATA) errno = EOPNOTSUPP;
    result;
  }));
  expectSameBytes("fgetxattr", room, room ? got : 0);
  closeBoth(fd);
}

static int compareStrings(const void *left, const void *right) {
  return strcmp(*(char *const *)left, *(char *const *)right);
}

// Sorts the names of a list by bytes, because the order depends on the file system.
static void sortNames(char *list, size_t count) {
  char *names[64], sorted[PAGE];
  size_t found = 0, at = 0;
  for (size_t i = 0; i < count && found < 64; i += strlen(list + i) + 1) names[found++] = list + i;
  qsort(names, found, sizeof *names, compareStrings);
  for (size_t i = 0; i < found && at + strlen(names[i]) < sizeof sorted; i++)
    at += strlen(strcpy(sorted + at, names[i])) + 1;
  memcpy(list, sorted, at);
}

void listAttributes(void) {
  size_t room = someRoom();
  int fd[SIDES];
  const struct entry *entry = openForAttributes(fd);
  note("flistxattr '%s' in %zu bytes", entry->path, room);
  long count = BOTH("flistxattr", flistxattr(fd[side], buffers[side], room));
  if (room && count > 0) {
    for (int side = 0; side < SIDES; side++) sortNames(buffers[side], count);
    expectSameBytes("flistxattr", count, count);
  }
  closeBoth(fd);
}

// MARK: - Writing

void tryToWrite(void) {
  char path[2 * PAGE];
  snprintf(path, sizeof path, "%s", somePath());
  const char *other = someEntry()->path;
  const struct timespec times[2] = { { 0, 0 }, { 0, 0 } };
  const int flags[] = { O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_WRONLY | O_CREAT, O_RDONLY | O_CREAT,
                        O_WRONLY | O_CREAT | O_EXCL, O_RDWR | O_APPEND, O_RDWR | O_TMPFILE };
  int flag = flags[below(sizeof flags / sizeof *flags)];
  struct opened *file = someFile();
  int kind = below(14);
  note("write '%s', kind %d, flags %#x, other '%s'", path, kind, flag, other);
  switch (kind) {
    case 0: BOTH("unlink", unlinkat(roots[side], path, 0)); break;
    case 1: BOTH("rmdir", unlinkat(roots[side], path, AT_REMOVEDIR)); break;
    case 2: BOTH("mkdir", mkdirat(roots[side], path, 0777)); break;
    case 3: BOTH("rename", renameat(roots[side], other, roots[side], path)); break;
    case 4: BOTH("link", linkat(roots[side], other, roots[side], path, 0)); break;
    case 5: BOTH("symlink", symlinkat(other, roots[side], path)); break;
    case 6: BOTH("chmod", fchmodat(roots[side], path, 0777, 0)); break;
    case 7: BOTH("chown", fchownat(roots[side], path, 1, 1, 0)); break;
    case 8: BOTH("utimens", utimensat(roots[side], path, times, 0)); break;
    case 9: BOTH("mkfifo", mkfifoat(roots[side], path, 0777)); break;
    case 10: if (file) BOTH("write", write(file->fd[side], "x", 1)); break;
    case 11: if (file) BOTH("ftruncate", ftruncate(file->fd[side], 1)); break;
    case 12: if (file) BOTH("fsetxattr", fsetxattr(file->fd[side], "user.safetensors.name", "x", 1, 0)); break;
    default: {
      int fd[SIDES];
      flag |= O_CLOEXEC;
      if (BOTH("open to write", (fd[side] = openat(roots[side], path, flag, 0777)) < 0 ? -1 : 0) == 0) closeBoth(fd);
    }
  }
}
