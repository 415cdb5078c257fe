// Directory streams. The order and the positions on the plain side are those of its file system. So listings of the mount are
// compared with the first listing of the mount, which had the same names as the plain side.
#include "oracle.h"
#include <dirent.h>
#include <sys/syscall.h>

struct stream {
  DIR *stream;
  const struct entry *directory;
  size_t next;  // the index of the next entry
};
static struct stream streams[8];
static size_t streamCount;
enum { STREAMS = sizeof streams / sizeof *streams };

// A child process shares the positions of its parent's streams, but not their buffers.
void forgetStreams(void) { streamCount = 0; }

static const struct entry *someDirectory(void) {
  const struct entry *entry;
  do entry = &entries[below(entryCount)]; while (!entry->isDirectory && below(1000));
  return entry->isDirectory ? entry : &entries[0];
}

// The entry for a name in a directory; NULL for "..", or if a fast search does not find it.
static const struct entry *child(const struct entry *directory, const char *name) {
  if (!strcmp(name, ".")) return directory;
  char path[2 * PAGE];
  bool isRoot = !strcmp(directory->path, ".");
  snprintf(path, sizeof path, "%s%s%s", isRoot ? "" : directory->path, isRoot ? "" : "/", name);
  for (size_t i = 0; i < entryCount; i++) if (!strcmp(entries[i].path, path)) return &entries[i];
  return NULL;
}

static void expectEntry(const struct entry *directory, size_t number, const char *name, ino_t inode, int type,
                        long position) {
  if (number >= directory->nameCount) differ("'%s' lists '%s' after its end", directory->path, name);
  if (strcmp(name, directory->names[number]))
    differ("'%s' lists '%s' in place of '%s'", directory->path, name, directory->names[number]);
  // A position means the same place in every stream.
  if (directory->positions[number] < 0) directory->positions[number] = position;
  if (position != directory->positions[number])
    differ("the position after '%s' is %ld, and was %ld", name, position, directory->positions[number]);
  if (below(8)) return;  // The search is slower than everything else.
  const struct entry *entry = child(directory, name);
  if (!entry) return;
  if (type != (entry->isDirectory ? DT_DIR : DT_REG)) differ("the type of '%s' is %d", entry->path, type);
  if (inode != entry->inode[MOUNT]) differ("the inode number of '%s' is listed as %lu", entry->path, inode);
}

static void readEntries(struct stream *stream, size_t count) {
  for (size_t i = 0; i < count; i++) {
    errno = 0;
    struct dirent *found = readdir(stream->stream);
    if (!found) {
      if (errno) differ("readdir of '%s' fails: %s", stream->directory->path, strerror(errno));
      if (stream->next != stream->directory->nameCount)
        differ("'%s' ends after %zu names of %zu", stream->directory->path, stream->next,
               stream->directory->nameCount);
      return;
    }
    expectEntry(stream->directory, stream->next++, found->d_name, found->d_ino, found->d_type,
                telldir(stream->stream));
  }
}

static bool openStream(struct stream *stream) {
  stream->directory = someDirectory();
  stream->next = 0;
  note("opendir '%s'", stream->directory->path);
  int fd = openat(roots[MOUNT], stream->directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  stream->stream = fd < 0 ? NULL : fdopendir(fd);
  if (!stream->stream) differ("opendir of '%s': %s", stream->directory->path, strerror(errno));
  return true;
}

void list(void) {
  if (streamCount < STREAMS && below(4) == 0) openStream(&streams[streamCount++]);
  if (!streamCount) return;
  struct stream *stream = &streams[below(streamCount)];
  const struct entry *directory = stream->directory;
  switch (below(8)) {
    case 0:
      note("closedir '%s'", directory->path);
      closedir(stream->stream);
      *stream = streams[--streamCount];
      return;
    case 1:
      note("rewinddir '%s'", directory->path);
      rewinddir(stream->stream);
      stream->next = 0;
      break;
    case 2: case 3: {
      // Also seeks to positions from another stream.
      size_t number = below(directory->nameCount);
      if (directory->positions[number] < 0) break;
      note("seekdir '%s' behind entry %zu", directory->path, number);
      seekdir(stream->stream, directory->positions[number]);
      stream->next = number + 1;
      break;
    }
  }
  size_t count = below(3) ? below(12) : below(2) ? below(600) : directory->nameCount + 1;
  note("readdir '%s' %zu times", directory->path, count);
  readEntries(stream, count);
}

void listWhole(void) {
  struct stream stream;
  if (!openStream(&stream)) return;
  note("list all of '%s'", stream.directory->path);
  readEntries(&stream, stream.directory->nameCount + 1);
  closedir(stream.stream);
}

// Calls getdents64(2) from any position, with a smaller buffer than that of the C library.
void listRaw(void) {
  const struct entry *directory = someDirectory();
  size_t room = 300 + below(4000), number = below(directory->nameCount);
  if (directory->positions[number] < 0) return;
  note("getdents64 '%s' behind entry %zu in %zu bytes", directory->path, number, room);
  int fd = openat(roots[MOUNT], directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || lseek(fd, directory->positions[number], SEEK_SET) < 0) differ("lseek: %s", strerror(errno));
  number++;
  for (int calls = 0; calls < 20; calls++) {
    long count = syscall(SYS_getdents64, fd, buffers[MOUNT], room);
    if (count < 0) differ("getdents64: %s", strerror(errno));
    if (count == 0 && number != directory->nameCount) differ("getdents64 ends after %zu names", number);
    if (count == 0) break;
    for (long at = 0; at < count;) {
      const struct dirent *found = (const struct dirent *)(buffers[MOUNT] + at);
      expectEntry(directory, number++, found->d_name, found->d_ino, found->d_type, found->d_off);
      at += found->d_reclen;
    }
  }
  close(fd);
}
