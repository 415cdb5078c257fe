// Open files: reads, seeks, transfers.
#include "oracle.h"
#include <sys/sendfile.h>
#include <sys/uio.h>

struct opened files[48];
size_t fileCount;
enum { FILES = sizeof files / sizeof *files };

struct opened *someFile(void) { return fileCount ? &files[below(fileCount)] : NULL; }

off_t someOffset(off_t size) {
  off_t anchors[] = { 0, size, size / PAGE * PAGE, below(size + 1) / PAGE * PAGE, below(size + 1), 1L << 31, 1L << 40 };
  off_t anchor = anchors[below(sizeof anchors / sizeof *anchors)];
  switch (below(3)) {
    case 0: return anchor;
    case 1: return anchor + (off_t)below(9) - 4;
    default: return anchor + (off_t)below(2 * PAGE) - PAGE;
  }
}

size_t someCount(void) {
  const size_t limits[] = { 1, 64, PAGE, 4 * PAGE, 32 * PAGE, 256 * PAGE + 2, ROOM };
  size_t limit = limits[below(sizeof limits / sizeof *limits)];
  // O_DIRECT readers request whole pages.
  return limit > PAGE && below(3) == 0 ? below(limit / PAGE) * PAGE : below(limit + 1);
}

// Prepares the buffers for `count` bytes. Both have the same bytes before a call, so bytes that the call does not report as
// written must be the same afterwards.
static void prepare(size_t count) {
  for (int side = 0; side < SIDES; side++) memset(buffers[side], 0xA5, count + PAGE);
}

static void keep(const int fd[SIDES], const struct entry *entry) {
  if (fileCount == FILES) {
    struct opened *old = &files[below(fileCount)];
    for (int side = 0; side < SIDES; side++) close(old->fd[side]);
    *old = files[--fileCount];
  }
  files[fileCount++] = (struct opened){ { fd[MOUNT], fd[PLAIN] }, entry };
}

void openFile(void) {
  const struct entry *entry = someEntry();
  const int choices[] = { 0, 0, 0, O_DIRECT, O_NOFOLLOW, O_NOATIME, O_NONBLOCK, O_DIRECTORY };
  int flags = O_RDONLY | O_CLOEXEC | choices[below(sizeof choices / sizeof *choices)], fd[SIDES];
  note("open '%s' %#x", entry->path, flags);
  // O_DIRECT reads return the same bytes. Only the mount uses it here, because FUSE accepts any offset and alignment.
  if (entry->isDirectory) flags &= ~O_DIRECT;
  int plainFlags = flags & ~O_DIRECT;
  if (BOTH("open", (fd[side] = openat(roots[side], entry->path, side == MOUNT ? flags : plainFlags)) < 0 ? -1 : 0) == 0)
    keep(fd, entry);
}

void duplicate(void) {
  struct opened *file = someFile();
  if (!file) return;
  int fd[SIDES];
  note("dup of '%s'", file->entry->path);
  for (int side = 0; side < SIDES; side++)
    if ((fd[side] = fcntl(file->fd[side], F_DUPFD_CLOEXEC, 0)) < 0) fail("dup", file->entry->path);
  keep(fd, file->entry);
}

void closeFile(void) {
  struct opened *file = someFile();
  if (!file) return;
  note("close '%s'", file->entry->path);
  BOTH("close", close(file->fd[side]));
  *file = files[--fileCount];
}

void readThere(void) {
  struct opened *file = someFile();
  if (!file) return;
  size_t count = someCount(), shift = below(2) ? 0 : below(PAGE);
  off_t offset = someOffset(file->entry->size);
  note("pread '%s' %zu bytes at %ld, memory at %zu", file->entry->path, count, offset, shift);
  prepare(count + shift);
  long got = BOTH("pread", pread(file->fd[side], buffers[side] + shift, count, offset));
  expectSameBytes("pread", count + shift, got);
}

static void expectSamePosition(const struct opened *file) {
  // The positions in a directory depend on the file system.
  if (!file->entry->isDirectory) BOTH("the position", lseek(file->fd[side], 0, SEEK_CUR));
}

void readHere(void) {
  struct opened *file = someFile();
  if (!file) return;
  size_t count = someCount();
  note("read '%s' %zu bytes", file->entry->path, count);
  prepare(count);
  long got = BOTH("read", read(file->fd[side], buffers[side], count));
  expectSameBytes("read", count, got);
  expectSamePosition(file);
}

void readInto3(void) {
  struct opened *file = someFile();
  if (!file) return;
  size_t counts[] = { someCount() / 4, someCount() / 4, someCount() / 4 };
  off_t offset = below(2) ? -1 : someOffset(file->entry->size);
  size_t total = counts[0] + counts[1] + counts[2];
  note("preadv2 '%s' %zu + %zu + %zu bytes at %ld", file->entry->path, counts[0], counts[1], counts[2], offset);
  prepare(total);
  long got = BOTH("preadv2", ({
    char *start = buffers[side];
    struct iovec parts[] = { { start, counts[0] }, { start + counts[0], counts[1] },
                             { start + counts[0] + counts[1], counts[2] } };
    preadv2(file->fd[side], parts, 3, offset, 0);
  }));
  expectSameBytes("preadv2", total, got);
  expectSamePosition(file);
}

void seek(void) {
  struct opened *file = someFile();
  if (!file || file->entry->isDirectory) return;
  const int origins[] = { SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 17 };
  const char *const names[] = { "SET", "CUR", "END", "DATA", "HOLE", "17" };
  unsigned chosen = below(sizeof origins / sizeof *origins);
  off_t offset = someOffset(file->entry->size);
  if (chosen == 1 || chosen == 2) offset = offset / 2 - (off_t)below(file->entry->size + PAGE);
  note("lseek '%s' %ld %s", file->entry->path, offset, names[chosen]);
  // The maximum size of a file depends on the file system. SEEK_CUR adds up positions.
  if (lseek(file->fd[PLAIN], 0, SEEK_CUR) > 1L << 41) chosen = 0;
  BOTH("lseek", lseek(file->fd[side], offset, origins[chosen]));
  expectSamePosition(file);
}

void sendFile(void) {
  struct opened *file = someFile();
  if (!file) return;
  size_t count = someCount();
  bool isHere = below(2);
  off_t start = someOffset(file->entry->size), offsets[SIDES] = { start, start };
  note("sendfile '%s' %zu bytes at %ld", file->entry->path, count, isHere ? -1 : start);
  int target[SIDES];
  for (int side = 0; side < SIDES; side++)
    if ((target[side] = memfd_create("oracle", MFD_CLOEXEC)) < 0) fail("memfd_create", "");
  long sent = BOTH("sendfile", sendfile(target[side], file->fd[side], isHere ? NULL : &offsets[side], count));
  BOTH("sendfile's offset", offsets[side]);
  if (sent > 0) {
    BOTH("reading what was sent", pread(target[side], buffers[side], sent, 0));
    expectSameBytes("sendfile", sent, sent);
  }
  for (int side = 0; side < SIDES; side++) close(target[side]);
  expectSamePosition(file);
}

void advise(void) {
  struct opened *file = someFile();
  if (!file || file->entry->isDirectory) return;
  const int advice[] = { POSIX_FADV_DONTNEED, POSIX_FADV_DONTNEED, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL,
                         POSIX_FADV_NORMAL, POSIX_FADV_WILLNEED };
  int chosen = advice[below(sizeof advice / sizeof *advice)];
  off_t offset = below(file->entry->size + 1);
  size_t count = below(2) ? 0 : someCount();
  note("fadvise '%s' %zu bytes at %ld: %d", file->entry->path, count, offset, chosen);
  // posix_fadvise returns the error and does not set errno.
  BOTH("fadvise", posix_fadvise(file->fd[side], offset, count, chosen));
}
