// One reader: makes random reads of random sizes, and verifies each, until it is killed.
#include "load.h"

enum { READ, MAPPED, DIRECT };

static uint64_t state;
static uint64_t below(uint64_t limit) { return mix(state++) % limit; }

// All magnitudes of sizes are equally frequent.
static size_t someSize(void) {
  size_t magnitude = 1 + below(23);
  return 1 + below(1UL << magnitude);
}

static unsigned char *buffer;

static void readOnce(int fd, const struct tensor *tensor, const char *path, int how) {
  off_t offset = below(tensor->size);
  size_t size = someSize();
  if (how == DIRECT) offset -= offset % PAGE, size = (size + PAGE - 1) / PAGE * PAGE;
  size_t expected = tensor->size - offset < (off_t)size ? (size_t)(tensor->size - offset) : size;
  ssize_t got = pread(fd, buffer, size, offset);
  if (got >= 0 && got != (ssize_t)expected) errno = ENODATA, got = -1;
  if (got < 0) fail("read", path);
  verify(tensor, buffer, offset, got);
}

static void lookOnce(int fd, const struct tensor *tensor, const char *path) {
  off_t offset = below(tensor->size) / PAGE * PAGE;
  size_t left = tensor->size - offset, size = someSize();
  if (size > left) size = left;
  void *mapped = mmap(NULL, size, PROT_READ, below(2) ? MAP_SHARED : MAP_PRIVATE, fd, offset);
  if (mapped == MAP_FAILED) fail("map", path);
  verify(tensor, mapped, offset, size);
  munmap(mapped, size);
}

void readForEver(uint64_t seed) {
  state = seed << 32;
  void *memory;
  if (posix_memalign(&memory, PAGE, LARGEST_READ + PAGE)) fail("memory", "for a buffer");
  buffer = memory;
  while (true) {
    int chosen = below(4) ? below(TENSORS) : 0, how = below(3);
    const struct tensor *tensor = &tensors[chosen];
    char path[PATH_MAX];
    pathOf(path, below(mountCount), chosen);
    int fd = open(path, O_RDONLY | (how == DIRECT ? O_DIRECT : 0));
    if (fd < 0) fail("open", path);
    for (uint64_t i = 1 + below(8); i > 0; i--) {
      if (how == MAPPED) lookOnce(fd, tensor, path); else readOnce(fd, tensor, path, how);
      atomic_fetch_add(&totals->reads[how], 1);
    }
    // Drops the pages, because the disk is not read while the model is in memory.
    if (below(50) == 0) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
}
