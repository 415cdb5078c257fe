// What the parts of the oracle share. See oracle.c for what it does.
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

// One file or directory that both sides have.
struct entry {
  char *path;  // relative to the root, which is "."
  bool isDirectory;
  off_t size;
  ino_t inode[SIDES];
  // Of a directory: what the mount lists, in its order, and the position after each once it was seen (-1 before).
  char **names;
  long *positions;
  size_t nameCount;
};

// One open file: the same on both sides, with one position on each.
struct opened {
  int fd[SIDES];
  const struct entry *entry;
};

extern struct entry *entries;
extern size_t entryCount;
extern int roots[SIDES];
extern struct opened files[48];
extern size_t fileCount;
// Where both sides' bytes go. Before a call they hold the same.
extern char *buffers[SIDES];
// The mount was made with -o direct_io.
extern bool isDirect;

// oracle.c: chance, and what is said of a difference.

// A number below `limit`, from the seed.
uint64_t below(uint64_t limit);
// Notes what is about to be done, for the report of a difference.
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);
// Ends the oracle: the sides differ in what is named.
__attribute__((format(printf, 1, 2), noreturn)) void differ(const char *format, ...);
// Ends the oracle: it cannot work here. errno says why.
__attribute__((noreturn)) void fail(const char *what, const char *which);
// Compares the results of one call: its value and, of a failure, errno.
void expectSame(const char *what, const long value[SIDES], const int error[SIDES]);
// Compares the first `count` bytes of the buffers, of which the call has written `got`; -1 is none.
void expectSameBytes(const char *what, size_t count, long got);

// Runs EXPRESSION for each side, with `side` as its number, and compares value and errno. The value is the mount's.
#define BOTH(what, expression) ({ \
  long value_[SIDES]; int error_[SIDES]; \
  for (int side = 0; side < SIDES; side++) { \
    errno = 0; value_[side] = (expression); error_[side] = value_[side] < 0 ? errno : 0; } \
  expectSame(what, value_, error_); value_[MOUNT]; })

// tree.c: what is there, and what may differ.

// Reads both trees, which must have the same names. `mount` and `plain` are open directories.
void readTrees(void);
const struct entry *someEntry(void);
// A path that most often leads to an entry, and sometimes nowhere. Valid until the next call.
const char *somePath(void);
// Takes out of a status what no two file systems have in common, and compares the rest.
void expectSameStatus(struct stat status[SIDES]);

// Each of these does something on both sides and compares what comes of it.
void openFile(void), duplicate(void), closeFile(void), readHere(void), readThere(void), readInto3(void),
    seek(void), sendFile(void), advise(void);  // files.c
void map(void), look(void), scribble(void), unmap(void);  // mappings.c
void status(void), extendedStatus(void), checkAccess(void), getAttribute(void), listAttributes(void),
    readLink(void), tryToWrite(void);  // names.c
void list(void), listWhole(void), listRaw(void), forgetStreams(void);  // listings.c

// files.c: an open file at random; NULL where none is open.
struct opened *someFile(void);
// An offset at which something might go wrong.
off_t someOffset(off_t size);
// A number of bytes, up to ROOM, small more often than large.
size_t someCount(void);
