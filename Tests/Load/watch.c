// The daemons' resources over time: private memory (RssAnon, which excludes the model's pages in the page cache), descriptors
// and threads.
//
// The rule for each daemon: the first tenth of the time does not count, because buffers and stacks are used for the first
// time. The rest is divided into quarters, and the last one is compared with the first. Threads and descriptors: the minimum of the
// last quarter is at most the maximum of the first. The thread that prefetches runs only when it has work, with a descriptor of its
// own. Memory: the mean of the last quarter is at most 1 MiB above that of the first. A leak of malloc's smallest block at
// every tenth read of ten minutes would be more.
#include "load.h"
#include <dirent.h>

struct sample { double time; long memory, descriptors, threads; };
enum { DAEMONS = 8, SAMPLES = 4096, QUARTERS = 4 };
static struct sample samples[DAEMONS][SAMPLES];
static int sampleCount;
static double length;

static long countEntries(pid_t process, const char *what) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", process, what);
  DIR *directory = opendir(path);
  if (!directory) fail("look into", path);
  long count = 0;
  for (struct dirent *entry; (entry = readdir(directory));) count += entry->d_name[0] != '.';
  closedir(directory);
  return count;
}

static long ownKilobytes(pid_t process) {
  char path[64], line[256];
  long result = -1;
  snprintf(path, sizeof path, "/proc/%d/status", process);
  FILE *file = fopen(path, "r");
  if (!file) fail("read", path);
  while (fgets(line, sizeof line, file)) sscanf(line, "RssAnon: %ld", &result);
  fclose(file);
  return result;
}

void watch(double elapsed, double whole) {
  length = whole;
  if (sampleCount == SAMPLES || elapsed < whole * sampleCount / SAMPLES) return;
  for (int i = 0; i < daemonCount; i++)
    samples[i][sampleCount] = (struct sample){ elapsed, ownKilobytes(daemons[i]), countEntries(daemons[i], "fd"),
                                               countEntries(daemons[i], "task") };
  sampleCount++;
}

struct quarter {
  double memory;
  long leastMemory, mostMemory, leastDescriptors, mostDescriptors, leastThreads, mostThreads, count;
};

static void include(long value, long *least, long *most) {
  if (value < *least) *least = value;
  if (value > *most) *most = value;
}

static struct quarter quarter(int daemon, int number) {
  struct quarter result = { .leastMemory = LONG_MAX, .leastDescriptors = LONG_MAX, .leastThreads = LONG_MAX };
  double start = length / 10, part = (length - start) / QUARTERS;
  for (int i = 0; i < sampleCount; i++) {
    const struct sample *sample = &samples[daemon][i];
    if (sample->time < start + number * part || sample->time >= start + (number + 1) * part) continue;
    result.memory += sample->memory;
    include(sample->memory, &result.leastMemory, &result.mostMemory);
    include(sample->descriptors, &result.leastDescriptors, &result.mostDescriptors);
    include(sample->threads, &result.leastThreads, &result.mostThreads);
    result.count++;
  }
  if (result.count) result.memory /= result.count;
  return result;
}

bool report(void) {
  printf("load: %.0f s: %lu reads, %lu through mappings, %lu past the page cache; %.1f GiB verified\n", length,
         totals->reads[0], totals->reads[1], totals->reads[2], totals->bytes / 1073741824.0);
  printf("load: %lu opens and closes, %lu descriptors held, %lu readers killed, %lu failures\n", totals->opened,
         totals->held, totals->killed, totals->failures);
  puts("\n| daemon | quarter | samples | memory, KiB: mean | least | most | descriptors | threads |");
  puts("| --- | --: | --: | --: | --: | --: | --: | --: |");
  bool isFlat = true;
  for (int i = 0; i < daemonCount; i++) {
    struct quarter quarters[QUARTERS];
    for (int j = 0; j < QUARTERS; j++) {
      struct quarter *q = &quarters[j];
      *q = quarter(i, j);
      printf("| %d | %d | %ld | %.0f | %ld | %ld | %ld-%ld | %ld-%ld |\n", i + 1, j + 1, q->count, q->memory, q->leastMemory,
             q->mostMemory, q->leastDescriptors, q->mostDescriptors, q->leastThreads, q->mostThreads);
    }
    const struct quarter *first = &quarters[0], *last = &quarters[QUARTERS - 1];
    if (!first->count || !last->count || last->leastDescriptors > first->mostDescriptors
        || last->leastThreads > first->mostThreads || last->memory > first->memory + 1024) {
      printf("load: daemon %d holds more at the end than in the beginning\n", i + 1);
      isFlat = false;
    }
  }
  return isFlat;
}
