// Declarations that the parts of the oracle share. See oracle.c.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { MOUNT, PLAIN, SIDES };
enum { PAGE = 4096, ROOM = 4 << 20 };

// A file or directory on both sides.
struct entry {
  char *path;  // relative to the root, which is "."
  bool isDirectory;
  off_t size;
  ino_t inode[SIDES];
  // The entries of a directory in the order of the mount, and the position after each; -1 until it is known.
  char **names;
  long *positions;
  size_t nameCount;
};

// An open file on both sides. Both have the same position.
struct opened {
  int fd[SIDES];
  const struct entry *entry;
};

extern struct entry *entries;
extern size_t entryCount;
extern int roots[SIDES];
extern struct opened files[48];
extern size_t fileCount;
// The buffers of both sides. They have the same bytes before a call.
extern char *buffers[SIDES];
// The mount was made with -o direct_io.
extern bool isDirect;

// oracle.c: random numbers, and reports.

// A random number below `limit`.
uint64_t below(uint64_t limit);
// Records the next call, for the report of a difference.
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);
// Reports that the sides differ, and ends the oracle.
__attribute__((format(printf, 1, 2), noreturn)) void differ(const char *format, ...);
// Ends the oracle, because it cannot work. errno has the reason.
__attribute__((noreturn)) void fail(const char *what, const char *which);
// Compares the results of one call: its value, and errno after a failure.
void expectSame(const char *what, const long value[SIDES], const int error[SIDES]);
// Compares the first `count` bytes of the buffers. The call has written `got` bytes; -1 means none.
void expectSameBytes(const char *what, size_t count, long got);

// Runs EXPRESSION for each side, with `side` as its number, and compares value and errno. The value is the mount's.
#define BOTH(what, expression) ({ \
  long value_[SIDES]; int error_[SIDES]; \
  for (int side = 0; side < SIDES; side++) { \
    errno = 0; value_[side] = (expression); error_[side] = value_[side] < 0 ? errno : 0; } \
  expectSame(what, value_, error_); value_[MOUNT]; })

// tree.c: the entries, and their permitted differences.

// Reads both trees, which must have the same names. `mount` and `plain` are open directories.
void readTrees(void);
const struct entry *someEntry(void);
// A path that usually leads to an entry, and sometimes to nothing. Valid until the next call.
const char *somePath(void);
// Removes from both statuses what differs between file systems, and compares the rest.
void expectSameStatus(struct stat status[SIDES]);

// Each function makes calls on both sides and compares their results.
void openFile(void), duplicate(void), closeFile(void), readHere(void), readThere(void), readInto3(void),
    seek(void), sendFile(void), advise(void);  // files.c
void map(void), look(void), scribble(void), unmap(void);  // mappings.c
void status(void), extendedStatus(void), checkAccess(void), getAttribute(void), listAttributes(void),
    readLink(void), tryToWrite(void);  // names.c
void list(void), listWhole(void), listRaw(void), forgetStreams(void);  // listings.c

// files.c: a random open file; NULL if none is open.
struct opened *someFile(void);
// A random offset, most often near a boundary.
off_t someOffset(off_t size);
// A number of bytes up to ROOM. Small numbers are more frequent than large ones.
size_t someCount(void);
