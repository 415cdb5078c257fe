// Mappings, which stay valid after their descriptors are closed.
#include "oracle.h"
#include <sys/uio.h>

struct mapping {
  char *start[SIDES];
  size_t length;
  size_t touchable;  // the bytes on pages of the file; access to the others is SIGBUS
  bool isWritable;
  const char *path;
};
static struct mapping mappings[16];
static size_t mappingCount;
enum { MAPPINGS = sizeof mappings / sizeof *mappings };

static void forget(struct mapping *mapping) {
  for (int side = 0; side < SIDES; side++) munmap(mapping->start[side], mapping->length);
  *mapping = mappings[--mappingCount];
}

void map(void) {
  struct opened *file = someFile();
  if (!file) return;
  off_t size = file->entry->isDirectory ? 0 : file->entry->size;
  off_t offset = below(3) ? 0 : below(size / PAGE + 2) * PAGE + (below(50) == 0);
  size_t length = below(2) ? size + 1 + below(2 * PAGE) : 1 + below(ROOM);
  bool isShared = below(2), isWritable = below(3) == 0;
  int protection = PROT_READ | (isWritable ? PROT_WRITE : 0), flags = isShared ? MAP_SHARED : MAP_PRIVATE;
  if (below(8) == 0) flags |= MAP_POPULATE;
  note("mmap '%s' %zu bytes at %ld, %s%s", file->entry->path, length, offset, isShared ? "shared" : "private",
       isWritable ? ", writable" : "");
  struct mapping mapping = { { NULL, NULL }, length, 0, isWritable, file->entry->path };
  // Documented: before libfuse 3.17, a file that bypasses the page cache cannot be mapped shared.
  bool isRefused = isDirect && isShared && !file->entry->isDirectory && !isWritable && offset % PAGE == 0;
  long made = BOTH("mmap", ({
    mapping.start[side] = mmap(NULL, length, protection, flags, file->fd[side], offset);
    bool isMade = mapping.start[side] != MAP_FAILED;
    if (side == PLAIN && isRefused && isMade) {
      munmap(mapping.start[side], length);
      errno = ENODEV;
      isMade = false;
    }
    isMade ? 0 : -1;
  }));
  if (made) return;
  if (mappingCount == MAPPINGS) forget(&mappings[below(mappingCount)]);
  off_t left = (size + PAGE - 1) / PAGE * PAGE - offset;
  mapping.touchable = left <= 0 ? 0 : (size_t)left < length ? (size_t)left : length;
  mappings[mappingCount++] = mapping;
}

void look(void) {
  if (!mappingCount) return;
  const struct mapping *mapping = &mappings[below(mappingCount)];
  size_t offset = below(mapping->length), count = someCount();
  if (count > mapping->length - offset) count = mapping->length - offset;
  note("look at %zu bytes at %zu of the mapping of '%s'", count, offset, mapping->path);
  long got = count;
  if (below(4) && offset < mapping->touchable) {
    // Page faults of this process read the bytes.
    if (count > mapping->touchable - offset) count = got = mapping->touchable - offset;
    for (int side = 0; side < SIDES; side++) memcpy(buffers[side], mapping->start[side] + offset, count);
  } else {
    // The kernel reads the bytes, and reports how far it came where a page fault would be SIGBUS.
    for (int side = 0; side < SIDES; side++) memset(buffers[side], 0xA5, count);
    got = BOTH("a look at the mapping", ({
      struct iovec here = { buffers[side], count }, there = { mapping->start[side] + offset, count };
      process_vm_readv(getpid(), &here, 1, &there, 1, 0);
    }));
  }
  expectSameBytes("the mapping", count, got);
}

// Writes to both private mappings: their pages become copies, and the files do not change.
void scribble(void) {
  if (!mappingCount) return;
  struct mapping *mapping = &mappings[below(mappingCount)];
  if (!mapping->isWritable || !mapping->touchable) return;
  size_t offset = below(mapping->touchable), count = someCount() % PAGE;
  if (count > mapping->touchable - offset) count = mapping->touchable - offset;
  int byte = below(256);
  note("write %zu bytes at %zu of the mapping of '%s'", count, offset, mapping->path);
  for (int side = 0; side < SIDES; side++) memset(mapping->start[side] + offset, byte, count);
}

void unmap(void) {
  if (!mappingCount) return;
  struct mapping *mapping = &mappings[below(mappingCount)];
  if (below(2)) {
    note("madvise DONTNEED the mapping of '%s'", mapping->path);
    BOTH("madvise", madvise(mapping->start[side], mapping->length, MADV_DONTNEED));
  } else {
    note("munmap '%s'", mapping->path);
    forget(mapping);
  }
}
