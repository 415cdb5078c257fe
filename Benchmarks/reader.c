// The timed parts of the benchmarks, in C so that no interpreter is measured. Started by `run`; prints one line
// of JSON. See README.md for what each row does with it.
//
//   reader keep FILE...                 hold the files in memory (mlock) until standard input ends
//   reader drop FILE...                 drop the files' pages, say what stayed
//   reader touch BYTES                  make so much memory ready for use
//   reader wake                         how long two threads take to wake each other, with a pipe for each
//   reader warm FILE...                 read the files twice, say what is in memory then
//   reader seq|rand|mmap [OPTIONS] LIST read the pieces named in LIST, lines of PATH <tab> OFFSET <tab> LENGTH
//   reader stat|slurp [OPTIONS] LIST    stat, or open + read + close, each PATH of LIST
//
//   -b BYTES  block size        -t N  threads      -n N  random reads     -r SEED
//   -s cold   drop the pages of LIST's files first; second: and read them; warm: read them twice; disk: drop -B's too
//   -B FILE   what is behind LIST's files          -p PID  the process that serves them
//   -x        drop the pages of LIST's files at the end
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const size_t page = 4096, warmBlock = 1 << 20;

struct piece { char *path; off_t offset, length; bool isNewFile; };
static struct piece *pieces;
static size_t pieceCount;
static off_t total;

static size_t block = 128 << 10, readCount = 10000;
static unsigned long threadCount = 1, seed = 1;
static pid_t daemonID;
static enum { SEQ, RANDOM, MAP, STAT, SLURP } mode;

static void fail(const char *what, const char *which) {
  fprintf(stderr, "reader: %s %s: %s\n", what, which, errno ? strerror(errno) : "short");
  exit(1);
}

static double seconds(clockid_t clock) {
  struct timespec t;
  return clock_gettime(clock, &t) ? 0 : t.tv_sec + t.tv_nsec / 1e9;
}

// The CPU time of another process, to the nanosecond: its CPU clock's ID is made from its PID (clock_getcpuclockid).
static double daemonSeconds(void) {
  clockid_t clock;
  if (!daemonID || clock_getcpuclockid(daemonID, &clock)) return 0;
  return seconds(clock);
}

// read and write calls of the daemon so far, as /proc/PID/io counts them (splice is not among them).
static unsigned long daemonCalls(void) {
  char path[64], line[128];
  unsigned long calls = 0, value;
  snprintf(path, sizeof path, "/proc/%d/io", daemonID);
  FILE *file = daemonID ? fopen(path, "r") : NULL;
  if (!file) return 0;
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "sysc%*c: %lu", &value) == 1) calls += value;
  fclose(file);
  return calls;
}

static int openFile(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("open", path);
  return fd;
}

// Bytes of the file in the page cache, or -1 where it cannot be mapped (FOPEN_DIRECT_IO).
static long resident(const char *path) {
  int fd = openFile(path);
  struct stat info;
  if (fstat(fd, &info)) fail("stat", path);
  size_t count = (info.st_size + page - 1) / page;
  long bytes = 0;
  if (count) {
    void *map = mmap(NULL, info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    unsigned char *bits = malloc(count);
    if (map == MAP_FAILED || !bits || mincore(map, info.st_size, bits)) bytes = -1;
    for (size_t i = 0; bytes >= 0 && i < count; i++) bytes += bits[i] & 1 ? page : 0;
    free(bits);
    if (map != MAP_FAILED) munmap(map, info.st_size);
  }
  close(fd);
  return bytes;
}

static void drop(const char *path) {
  // Pages still on a CPU's list of new pages escape the first try.
  for (int try = 0; try < 20; try++) {
    int fd = openFile(path);
    if (try == 0) fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    if (resident(path) <= 0) return;
    usleep(10000);
  }
}

static off_t fileSize(const char *path) {
  struct stat info;
  if (stat(path, &info)) fail("stat", path);
  return info.st_size;
}

// The part of all the files of LIST that is in memory, or -1 if nobody knows.
static double residentPart(double *sizeOfAll) {
  double in = 0, size = 0;
  for (size_t i = 0; i < pieceCount; i++) {
    if (!pieces[i].isNewFile) continue;
    long bytes = resident(pieces[i].path);
    if (bytes < 0) return sizeOfAll ? *sizeOfAll = 0 : 0, -1;
    in += bytes;
    size += (fileSize(pieces[i].path) + page - 1) / page * page;
  }
  if (sizeOfAll) *sizeOfAll = size;
  return size > 0 ? in / size : 0;
}

static char *writtenMemory(size_t bytes, int advice) {
  char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("memory", "touch");
  madvise(memory, bytes, advice);
  for (size_t i = 0; i < bytes; i += page) memory[i] = 1;
  return memory;
}

// Where the hypervisor takes back free memory, its first use is slow: use it once, unmeasured. As single pages what a mount's
// pages will be, since the kernel takes those from the smallest free blocks, and in huge ones what the large folios of a disk's
// file will. And not much more than that: what is free in plenty is taken back at once.
static void touchMemory(size_t single, size_t huge) {
  char *singlePages = writtenMemory(single, MADV_NOHUGEPAGE);
  if (huge) munmap(writtenMemory(huge, MADV_HUGEPAGE), huge);
  munmap(singlePages, single);
}

static void readPiece(int fd, const struct piece *piece, off_t from, off_t to, char *buffer, size_t size) {
  while (from < to) {
    size_t count = to - from < (off_t)size ? (size_t)(to - from) : size;
    errno = 0;
    ssize_t got = pread(fd, buffer, count, piece->offset + from);
    if (got != (ssize_t)count) fail("read", piece->path);
    from += got;
  }
}

static char *newBuffer(size_t size) {
  void *buffer;
  if (posix_memalign(&buffer, page, size)) fail("memory", "buffer");
  memset(buffer, 1, size);
  return buffer;
}

static void readAll(void) {
  char *buffer = newBuffer(warmBlock);
  for (size_t i = 0; i < pieceCount; i++) {
    int fd = openFile(pieces[i].path);
    readPiece(fd, &pieces[i], 0, pieces[i].length, buffer, warmBlock);
    close(fd);
  }
  free(buffer);
}

// The second read of a page moves it to the kernel's list of active pages, which the ones after it need not do.
static void warm(void) {
  readAll();
  readAll();
}

static void loadList(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) fail("open", path);
  char *line = NULL;
  size_t capacity = 0, room = 0;
  while (getline(&line, &capacity, file) > 0) {
    if (pieceCount == room) {
      room = room ? room * 2 : 64;
      pieces = realloc(pieces, room * sizeof *pieces);
      if (!pieces) fail("memory", "list");
    }
    char *name = strtok(line, "\t\n"), *offset = strtok(NULL, "\t\n"), *length = strtok(NULL, "\t\n");
    if (!length) fail("format", path);
    struct piece new = { strdup(name), atoll(offset), atoll(length), true };
    if (pieceCount) new.isNewFile = strcmp(new.path, pieces[pieceCount - 1].path) != 0;
    total += new.length;
    pieces[pieceCount++] = new;
  }
  free(line);
  fclose(file);
}

// MARK: - What is timed

struct worker { pthread_t thread; off_t from, to; int *fds; char *buffer; };
static pthread_barrier_t start;
static uint64_t sum;
static double *latencies;

static void readSequentially(struct worker *self) {
  off_t at = 0;
  for (size_t i = 0; i < pieceCount; at += pieces[i++].length) {
    off_t from = self->from > at ? self->from - at : 0;
    off_t to = self->to - at < pieces[i].length ? self->to - at : pieces[i].length;
    if (from < to) readPiece(self->fds[i], &pieces[i], from, to, self->buffer, block);
  }
}

static uint64_t next(uint64_t *state) {  // splitmix64
  uint64_t z = *state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

struct request { size_t piece; off_t offset; };
static struct request *requests;

// One read in each of `readCount` equal slots, in random order: no page is read twice, so a cold read is cold.
static void chooseRequests(void) {
  uint64_t state = seed;
  requests = calloc(readCount, sizeof *requests);
  latencies = calloc(readCount, sizeof *latencies);
  if (!requests || !latencies) fail("memory", "requests");
  size_t piece = 0;
  off_t at = 0, slot = total / readCount;
  if (slot < (off_t)(block + 2 * page)) { errno = EINVAL; fail("too many reads for", "the data"); }
  for (size_t i = 0; i < readCount; i++) {
    off_t position = slot * i + next(&state) % (slot - block - page);
    while (position >= at + pieces[piece].length) at += pieces[piece++].length;
    off_t offset = (position - at) / page * page, last = pieces[piece].length - block;
    if (last < 0) { errno = EINVAL; fail("smaller than a block:", pieces[piece].path); }
    if (offset > last) offset = last / page * page;
    requests[i] = (struct request){ piece, offset };
  }
  for (size_t i = readCount - 1; i > 0; i--) {
    size_t j = next(&state) % (i + 1);
    struct request swapped = requests[i];
    requests[i] = requests[j];
    requests[j] = swapped;
  }
}

static void readRandomly(struct worker *self) {
  for (size_t i = 0; i < readCount; i++) {
    const struct piece *piece = &pieces[requests[i].piece];
    double before = seconds(CLOCK_MONOTONIC);
    off_t from = requests[i].offset;
    readPiece(self->fds[requests[i].piece], piece, from, from + block, self->buffer, block);
    latencies[i] = seconds(CLOCK_MONOTONIC) - before;
  }
}

static void sumMaps(struct worker *self) {
  for (size_t i = 0; i < pieceCount; i++) {
    off_t skip = pieces[i].offset % page, length = pieces[i].length;
    char *map = mmap(NULL, length + skip, PROT_READ, MAP_SHARED, self->fds[i], pieces[i].offset - skip);
    if (map == MAP_FAILED) fail("mmap", pieces[i].path);
    const char *bytes = map + skip;
    off_t at = 0;
    for (uint64_t word; at + 8 <= length; at += 8) { memcpy(&word, bytes + at, 8); sum += word; }
    for (; at < length; at++) sum += (unsigned char)bytes[at];
    munmap(map, length + skip);
  }
}

static void visitFiles(struct worker *self) {
  for (size_t i = 0; i < pieceCount; i++) {
    struct stat info;
    if (mode == STAT) {
      if (stat(pieces[i].path, &info) || info.st_size != pieces[i].length) fail("stat", pieces[i].path);
    } else {
      int fd = openFile(pieces[i].path);
      errno = 0;
      if (read(fd, self->buffer, block) != pieces[i].length) fail("read", pieces[i].path);
      close(fd);
    }
  }
}

static void *work(void *argument) {
  struct worker *self = argument;
  self->buffer = newBuffer(block);
  self->fds = calloc(pieceCount, sizeof *self->fds);
  for (size_t i = 0; self->fds && mode <= MAP && i < pieceCount; i++)
    self->fds[i] = i && !pieces[i].isNewFile ? self->fds[i - 1] : openFile(pieces[i].path);
  pthread_barrier_wait(&start);  // all open
  pthread_barrier_wait(&start);  // the clock runs
  switch (mode) {
    case SEQ: readSequentially(self); break;
    case RANDOM: readRandomly(self); break;
    case MAP: sumMaps(self); break;
    case STAT: case SLURP: visitFiles(self); break;
  }
  pthread_barrier_wait(&start);
  return NULL;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// What the hypervisor has given to others while this machine's processors had work, all of them together.
static double stolenSeconds(void) {
  unsigned long ticks = 0;
  FILE *file = fopen("/proc/stat", "r");
  if (!file) return 0;
  if (fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %lu", &ticks) != 1) ticks = 0;
  fclose(file);
  return (double)ticks / sysconf(_SC_CLK_TCK);
}

static void measure(double before, const char *backing, size_t single, size_t huge) {
  struct worker *workers = calloc(threadCount, sizeof *workers);
  if (!workers) fail("memory", "workers");
  pthread_barrier_init(&start, NULL, threadCount + 1);
  for (unsigned long i = 0; i < threadCount; i++) {
    workers[i].from = (double)total * i / threadCount;
    workers[i].to = i + 1 == threadCount ? total : (off_t)((double)total * (i + 1) / threadCount);
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) fail("start", "thread");
  }
  pthread_barrier_wait(&start);
  if (single) touchMemory(single, huge);
  struct rusage usage, usageAfter;
  unsigned long calls = daemonCalls();
  double stolen = stolenSeconds(), daemon = daemonSeconds(), begin = seconds(CLOCK_MONOTONIC);
  getrusage(RUSAGE_SELF, &usage);
  pthread_barrier_wait(&start);
  pthread_barrier_wait(&start);
  double elapsed = seconds(CLOCK_MONOTONIC) - begin;
  getrusage(RUSAGE_SELF, &usageAfter);
  daemon = daemonSeconds() - daemon;
  stolen = stolenSeconds() - stolen;
  calls = daemonCalls() - calls;
  for (unsigned long i = 0; i < threadCount; i++) pthread_join(workers[i].thread, NULL);

  struct timeval user, system;
  timersub(&usageAfter.ru_utime, &usage.ru_utime, &user);
  timersub(&usageAfter.ru_stime, &usage.ru_stime, &system);
  size_t count = mode == RANDOM ? readCount : pieceCount;
  printf("{\"seconds\": %.9f, \"bytes\": %ld, \"count\": %zu, ", elapsed,
         mode == RANDOM ? (long)(readCount * block) : mode == STAT ? 0L : (long)total, count);
  printf("\"reader_cpu\": %.6f, \"daemon_cpu\": %.6f, \"stolen\": %.2f, \"daemon_calls\": %lu, ",
         user.tv_sec + user.tv_usec / 1e6 + system.tv_sec + system.tv_usec / 1e6, daemon, stolen, calls);
  if (mode == RANDOM) {
    qsort(latencies, count, sizeof *latencies, compare);
    printf("\"p50\": %.9f, \"p99\": %.9f, ", latencies[count / 2], latencies[count * 99 / 100]);
  }
  if (mode == MAP) printf("\"sum\": %lu, ", sum);
  if (mode <= MAP) {
    double size, after = residentPart(&size);
    printf("\"resident_before\": %.5f, \"resident_after\": %.5f, ", before, after);
    printf("\"bytes_after\": %.0f, ", after * size);
  }
  if (backing) printf("\"backing_after\": %ld, ", resident(backing));
  printf("\"threads\": %lu}\n", threadCount);
}

// MARK: - The helpers

static int keep(int count, char **files) {
  bool isLocked = true;
  for (int i = 0; i < count; i++) {
    int fd = openFile(files[i]);
    off_t size = fileSize(files[i]);
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED) fail("mmap", files[i]);
    if (mlock(map, size)) isLocked = false;
    close(fd);
  }
  puts(isLocked ? "locked" : "mapped");
  fflush(stdout);
  for (char c; read(0, &c, 1) > 0;) {}
  return 0;
}

static int there[2], back[2];

static void *echo(void *unused) {
  for (char c; read(there[0], &c, 1) == 1;) if (write(back[1], &c, 1) != 1) break;
  return unused;
}

static int wake(void) {
  enum { count = 5000 };
  static double times[count];
  pthread_t thread;
  if (pipe(there) || pipe(back) || pthread_create(&thread, NULL, echo, NULL)) fail("make", "pipes");
  for (int i = 0; i < count; i++) {
    char c = 0;
    double begin = seconds(CLOCK_MONOTONIC);
    if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1) fail("use", "pipes");
    times[i] = seconds(CLOCK_MONOTONIC) - begin;
  }
  close(there[1]);
  pthread_join(thread, NULL);
  qsort(times, count, sizeof *times, compare);
  printf("{\"p50\": %.9f}\n", times[count / 2]);
  return 0;
}

static void addFiles(int count, char **files) {
  pieces = calloc(count, sizeof *pieces);
  if (!pieces) fail("memory", "list");
  for (int i = 0; i < count; i++) {
    pieces[pieceCount++] = (struct piece){ files[i], 0, fileSize(files[i]), true };
    total += pieces[i].length;
  }
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "wake")) return wake();
  if (argc < 3) return fputs("usage: see the first lines of reader.c\n", stderr), 64;
  const char *what = argv[1];
  if (!strcmp(what, "keep")) return keep(argc - 2, argv + 2);
  if (!strcmp(what, "drop") || !strcmp(what, "warm")) {
    addFiles(argc - 2, argv + 2);
    if (what[0] == 'w') warm();
    else for (size_t i = 0; i < pieceCount; i++) drop(pieces[i].path);
    printf("{\"resident_before\": %.5f}\n", residentPart(NULL));
    return 0;
  }
  if (!strcmp(what, "touch")) return touchMemory(atol(argv[2]), 0), 0;
  const char *modes[] = { "seq", "rand", "mmap", "stat", "slurp" };
  while (mode < 5 && strcmp(what, modes[mode])) mode++;
  const char *state = "", *backing = NULL;
  bool dropsAfter = false;
  optind = 2;
  for (int option; (option = getopt(argc, argv, "b:t:n:r:s:B:p:x")) != -1;) switch (option) {
    case 'b': block = atol(optarg); break;
    case 't': threadCount = atol(optarg); break;
    case 'n': readCount = atol(optarg); break;
    case 'r': seed = atol(optarg); break;
    case 's': state = optarg; break;
    case 'B': backing = optarg; break;
    case 'p': daemonID = atoi(optarg); break;
    case 'x': dropsAfter = true; break;
    default: return 64;
  }
  if (mode > SLURP || optind + 1 != argc) return fputs("reader: unknown mode, or no list\n", stderr), 64;
  loadList(argv[optind]);
  bool isDisk = !strcmp(state, "disk"), isCold = isDisk || !strcmp(state, "cold");
  bool isSecond = !strcmp(state, "second");
  for (size_t i = 0; (isCold || isSecond) && i < pieceCount; i++) if (pieces[i].isNewFile) drop(pieces[i].path);
  if (isSecond) readAll();
  if (!strcmp(state, "warm")) warm();
  if (isDisk && backing) {
    drop(backing);
    long left = resident(backing);
    if (left > 1 << 20) {  // the header may stay: the daemon has it mapped
      fprintf(stderr, "reader: %ld bytes of %s stayed in memory\n", left, backing);
      return 1;
    }
  }
  double before = mode <= MAP ? residentPart(NULL) : 0;
  if (mode == RANDOM) chooseRequests();
  // What the caches will take: the pages of LIST's files, and of the file behind them.
  size_t taken = total + (16 << 20);
  measure(before, backing, isCold ? taken : 0, isDisk ? taken : 0);
  for (size_t i = 0; dropsAfter && i < pieceCount; i++) if (pieces[i].isNewFile) drop(pieces[i].path);
  return 0;
}
