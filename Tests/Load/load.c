// Load test of a mount, or of several mounts of one model. Readers verify every byte, and the daemons' resources are sampled.
//
//   load make FILE MIB             write a model whose bytes depend on their positions
//   load run [OPTIONS] MOUNT...    read it
//
//   -m MIB      the size given to `make`              -t SECONDS  duration (600)
//   -r N        number of readers, each a process (64)        -p PID  a daemon to watch (for each mount)
//   -c N        opens and closes besides the readers (100000) -d N    descriptors held open at once (10000)
//   -k MS       every MS milliseconds, kill a reader, usually during a read, and start another one (100)
//   -s SEED     seed of the readers' random numbers
//
// The exit status is 0 if every byte was correct and the daemons' resources did not grow, and 1 otherwise.
// watch.c has the rule. Prints a table of the resources over time.
#include "load.h"
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>

char **mounts;
int mountCount;
pid_t daemons[8];
int daemonCount;
struct totals *totals;

static size_t readerCount = 64, openCount = 100000, descriptorCount = 10000;
static double seconds = 600, killInterval = 0.1;
static uint64_t seed;

void fail(const char *what, const char *which) {
  fprintf(stderr, "load: %s %s: %s\n", what, which, strerror(errno));
  atomic_fetch_add(&totals->failures, 1);
  _exit(1);
}

double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

// MARK: - Work besides the readers

static void openAndClose(void) {
  for (size_t i = 0; i < openCount; i++) {
    char path[PATH_MAX];
    pathOf(path, i % mountCount, i % TENSORS);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || close(fd)) fail("open and close", path);
    atomic_fetch_add(&totals->opened, 1);
  }
}

// Holds descriptors until this process is killed, and reads through each.
static void hold(void) {
  int *held = calloc(descriptorCount, sizeof *held);
  if (!held) fail("memory", "for descriptors");
  for (size_t i = 0; i < descriptorCount; i++) {
    char path[PATH_MAX];
    pathOf(path, i % mountCount, i % TENSORS);
    if ((held[i] = open(path, O_RDONLY)) < 0) fail("hold", path);
    atomic_store(&totals->held, i + 1);
  }
  for (size_t i = 0;; i = (i + 1) % descriptorCount) {
    unsigned char byte;
    const struct tensor *tensor = &tensors[i % TENSORS];
    off_t offset = i * 7919 % tensor->size;
    if (pread(held[i], &byte, 1, offset) != 1) fail("read one byte of", tensor->name);
    verify(tensor, &byte, offset, 1);
    if (i % 64 == 0) usleep(10000);
  }
}

// MARK: - Processes

static pid_t start(void (*body)(void)) {
  fflush(NULL);
  pid_t child = fork();
  if (child < 0) fail("fork", "a process");
  if (child) return child;
  // Each process ends with the process that started it, even if that is killed.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  body();
  _exit(0);
}

static void readWithSeed(void) { readForEver(seed); }

static pid_t startReader(void) {
  seed++;
  return start(readWithSeed);
}

// Waits until a process ends. A process that fails has printed the reason.
static void reap(pid_t child, bool wasKilled) {
  int status;
  if (waitpid(child, &status, 0) != child) fail("wait for", "a process");
  bool isFine = wasKilled ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : status == 0;
  if (!isFine) atomic_fetch_add(&totals->failures, 1);
}

static void run(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max = descriptorCount + 100 > limit.rlim_max ? descriptorCount + 100 : limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit)) fail("raise the limit of", "descriptors");

  pid_t *readers = calloc(readerCount, sizeof *readers);
  for (size_t i = 0; i < readerCount; i++) readers[i] = startReader();
  pid_t opener = start(openAndClose), holder = start(hold);
  double begin = now(), nextKill = begin + killInterval;
  uint64_t chance = seed;
  for (double time; (time = now()) < begin + seconds && !atomic_load(&totals->failures);) {
    usleep(10000);
    watch(time - begin, seconds);
    if (time < nextKill) continue;
    nextKill = time + killInterval;
    size_t victim = mix(chance++) % readerCount;
    kill(readers[victim], SIGKILL);
    reap(readers[victim], true);
    atomic_fetch_add(&totals->killed, 1);
    readers[victim] = startReader();
  }
  for (size_t i = 0; i < readerCount; i++) kill(readers[i], SIGKILL);
  for (size_t i = 0; i < readerCount; i++) reap(readers[i], true);
  reap(opener, false);
  kill(holder, SIGKILL);
  reap(holder, true);
  free(readers);
}

int main(int argc, char **argv) {
  totals = mmap(NULL, sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (totals == MAP_FAILED) return perror("load: memory"), 1;
  if (argc == 4 && !strcmp(argv[1], "make")) return layOut(atol(argv[3]) << 20), writeModel(argv[2]), 0;
  off_t size = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) fail("random", "seed");
  seed >>= 32;
  optind = 2;
  for (int option; (option = getopt(argc, argv, "m:t:r:c:d:k:s:p:")) != -1;) switch (option) {
    case 'm': size = atol(optarg) << 20; break;
    case 't': seconds = atof(optarg); break;
    case 'r': readerCount = atol(optarg); break;
    case 'c': openCount = atol(optarg); break;
    case 'd': descriptorCount = atol(optarg); break;
    case 'k': killInterval = atof(optarg) / 1000; break;
    case 's': seed = strtoull(optarg, NULL, 10); break;
    case 'p': if (daemonCount < 8) daemons[daemonCount++] = atoi(optarg); break;
    default: return 64;
  }
  if (argc < 2 || strcmp(argv[1], "run") || optind == argc || !size)
    return fputs("usage: see the first lines of load.c\n", stderr), 64;
  mounts = argv + optind;
  mountCount = argc - optind;
  layOut(size);
  printf("load: seed %lu, %zu readers, %d mounts, %d tensors, %ld MiB\n", seed, readerCount, mountCount, TENSORS,
         size >> 20);
  fflush(stdout);
  run();
  bool isFlat = report();
  bool isComplete = totals->opened == openCount && totals->held == descriptorCount;
  if (!isComplete && !totals->failures) puts("load: there was not enough time for all opens or descriptors");
  return isFlat && isComplete && !totals->failures ? 0 : 1;
}
