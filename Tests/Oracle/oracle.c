// Compares a mount with a plain directory of the same files. Makes the same random system calls on both, and compares all
// results: values, errno and bytes.
//
//   oracle [-s SEED] [-n STEPS | -t SECONDS] [-D] [-c SOURCE] MOUNT PLAIN
//
//   -s SEED     seed of the random numbers; random by default. Printed first.
//   -n STEPS    number of calls (100000)               -t SECONDS  duration instead of a number
//   -D          the mount has -o direct_io, so its files cannot be mapped shared
//   -c SOURCE   a file of the mounted model, whose pages are dropped from time to time
//
// PLAIN must be on a read-only mount (mount -o bind,ro), so that calls that write fail there too. The exit status is
// 0 if all results were the same; 1 after a difference, which is printed with the calls before it; and 2 if the comparison was
// not possible. The same SEED and STEPS on the same trees make the same calls.
#include "oracle.h"
#include <stdarg.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>

int roots[SIDES];
char *buffers[SIDES];
bool isDirect;

static uint64_t seed, state;
static uint64_t step;
static uint64_t *bytesCompared;  // shared with children
static bool isChild;
static int source = -1;

// MARK: - Random numbers

uint64_t below(uint64_t limit) {  // splitmix64
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return (z ^ z >> 31) % limit;
}

// MARK: - Differences

enum { HISTORY = 40, LINE = 200 };
static char history[HISTORY][LINE];
static uint64_t noted;

void note(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(history[noted++ % HISTORY], LINE, format, arguments);
  va_end(arguments);
}

void differ(const char *format, ...) {
  fprintf(stderr, "the last calls%s:\n", isChild ? " (in a child)" : "");
  for (uint64_t i = noted > HISTORY ? noted - HISTORY : 0; i < noted; i++)
    fprintf(stderr, "  %s\n", history[i % HISTORY]);
  fprintf(stderr, "oracle: seed %lu, step %lu: ", seed, step);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  _exit(1);
}

void fail(const char *what, const char *which) {
  fprintf(stderr, "oracle: %s %s: %s\n", what, which, strerror(errno));
  _exit(2);
}

static const char *describe(long value, int error) {
  static char text[SIDES][64];
  static int turn;
  char *result = text[turn ^= 1];
  if (value < 0) snprintf(result, sizeof text[0], "%s", strerrorname_np(error));
  else snprintf(result, sizeof text[0], "%ld", value);
  return result;
}

void expectSame(const char *what, const long value[SIDES], const int error[SIDES]) {
  if (value[MOUNT] == value[PLAIN] && error[MOUNT] == error[PLAIN]) return;
  differ("%s gives %s, but %s of the plain file", what, describe(value[MOUNT], error[MOUNT]),
         describe(value[PLAIN], error[PLAIN]));
}

void expectSameBytes(const char *what, size_t count, long got) {
  if (got > 0) *bytesCompared += got;
  if (!memcmp(buffers[MOUNT], buffers[PLAIN], count)) return;
  size_t i = 0;
  while (buffers[MOUNT][i] == buffers[PLAIN][i]) i++;
  differ("%s differs at byte %zu: %02x, but %02x of the plain file", what, i, (unsigned char)buffers[MOUNT][i],
         (unsigned char)buffers[PLAIN][i]);
}

// MARK: - Steps

static void forkAndGoOn(void);
static void dropSource(void) {
  if (source < 0) return;
  note("drop the source's pages");
  posix_fadvise(source, 0, 0, POSIX_FADV_DONTNEED);
}

static const struct { void (*run)(void); unsigned weight; } steps[] = {
  { openFile, 10 }, { closeFile, 6 }, { duplicate, 3 }, { readThere, 24 }, { readHere, 10 }, { readInto3, 3 },
  { seek, 10 }, { sendFile, 4 }, { advise, 2 }, { map, 5 }, { look, 8 }, { scribble, 2 }, { unmap, 4 },
  { status, 10 }, { extendedStatus, 5 }, { checkAccess, 4 }, { getAttribute, 6 }, { listAttributes, 3 },
  { readLink, 1 }, { tryToWrite, 5 }, { list, 8 }, { listWhole, 1 }, { listRaw, 2 }, { forkAndGoOn, 1 },
  { dropSource, 1 },
};
enum { KINDS = sizeof steps / sizeof *steps };

static void takeStep(void) {
  static unsigned total;
  if (!total) for (int i = 0; i < KINDS; i++) total += steps[i].weight;
  unsigned chosen = below(total);
  int i = 0;
  while (chosen >= steps[i].weight) chosen -= steps[i++].weight;
  step++;
  steps[i].run();
}

// A child shares the positions of its parent's open files, and has its mappings. The parent waits, because the result of two
// processes that run at the same time would not depend only on the seed.
static void forkAndGoOn(void) {
  if (isChild) return;
  uint64_t count = below(40);
  note("fork");
  fflush(NULL);
  pid_t child = fork();
  if (child < 0) fail("fork", "a child");
  if (!child) {
    isChild = true;
    state = ~state;  // other random numbers than the parent's
    forgetStreams();
    for (uint64_t i = 0; i < count; i++) takeStep();
    _exit(0);
  }
  int result = 0;
  if (waitpid(child, &result, 0) != child) fail("wait for", "a child");
  if (result) _exit(WIFEXITED(result) ? WEXITSTATUS(result) : 1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void *newMemory(size_t count) {
  void *memory = mmap(NULL, count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("memory", "for a buffer");
  return memory;
}

int main(int argc, char **argv) {
  uint64_t stepLimit = 0;
  double timeLimit = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) fail("random", "seed");
  seed >>= 32;  // a short seed is easy to type
  for (int option; (option = getopt(argc, argv, "s:n:t:Dc:")) != -1;) switch (option) {
    case 's': seed = strtoull(optarg, NULL, 10); break;
    case 'n': stepLimit = strtoull(optarg, NULL, 10); break;
    case 't': timeLimit = atof(optarg); break;
    case 'D': isDirect = true; break;
    case 'c': if ((source = open(optarg, O_RDONLY | O_CLOEXEC)) < 0) fail("open", optarg); break;
    default: return 2;
  }
  if (optind + 2 != argc) return fputs("usage: see the first lines of oracle.c\n", stderr), 2;
  if (!stepLimit && timeLimit <= 0) stepLimit = 100000;
  for (int side = 0; side < SIDES; side++) {
    const char *path = argv[optind + side];
    struct statvfs info;
    roots[side] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (roots[side] < 0 || fstatvfs(roots[side], &info)) fail("open", path);
    if (!(info.f_flag & ST_RDONLY)) errno = EINVAL, fail("mount read-only:", path);
    // The buffers do not touch each other, and have room for any alignment.
    buffers[side] = newMemory(ROOM + 2 * PAGE);
  }
  bytesCompared = newMemory(sizeof *bytesCompared);
  printf("oracle: seed %lu\n", seed);
  fflush(stdout);

  state = seed;
  readTrees();
  noted = 0;
  double start = now();
  while (stepLimit ? step < stepLimit : now() - start < timeLimit) takeStep();
  printf("oracle: seed %lu, %zu files and directories: %lu steps, %lu bytes compared in %.0f s, no difference\n", seed,
         entryCount, step, *bytesCompared, now() - start);
  return 0;
}
