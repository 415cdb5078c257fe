// Declarations that the parts of the load test share. See load.c.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { TENSORS = 200, PAGE = 4096, LARGEST_READ = 8 << 20 };

struct tensor { char name[32]; off_t start, size; };
extern struct tensor tensors[TENSORS];
extern char **mounts;
extern int mountCount;
extern pid_t daemons[8];
extern int daemonCount;

// Counters of all processes.
struct totals { atomic_ulong reads[3], bytes, opened, held, killed, failures; };
extern struct totals *totals;

// load.c
// Ends this process, and thereby the run, because of an error. errno has the reason.
__attribute__((noreturn)) void fail(const char *what, const char *which);
double now(void);

// model.c: the bytes of the model.
static inline uint64_t mix(uint64_t z) {  // splitmix64
  z = (z + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}
void layOut(off_t size);
void writeModel(const char *path);
void pathOf(char path[PATH_MAX], int mount, int tensor);
// Ends the run if one of `count` bytes at `offset` of a tensor is wrong.
void verify(const struct tensor *tensor, const unsigned char *bytes, off_t offset, size_t count);

// reader.c
__attribute__((noreturn)) void readForEver(uint64_t seed);

// watch.c: samples the daemons' resources, and reports at the end whether they grew.
void watch(double elapsed, double whole);
bool report(void);
