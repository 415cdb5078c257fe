// A FUSE file system for tests, below a mounted model. It shows a directory as a slow or failing store would.
//
//   below DIRECTORY MOUNTPOINT [NAME=VALUE...] [OPTION...]
//
// Writing to MOUNTPOINT/.control sets values while it is mounted (echo latency=200 >.control), and reading it shows the counts of
// requests. `jumps` are reads that do not begin where the last read of the same open file ended,
// `tails` are reads that reach the end of the file.
//
//   latency=MS         each request takes MS milliseconds
//   bandwidth=MB       each read gets MB megabytes per second, independently of the others
//   errors=N           N of 1000 reads fail with `errno` (5, EIO)
//   short=N            N of 1000 reads return half of the requested bytes
//   stat_errors=N      N of 1000 requests for attributes fail with `errno`
//   stat_latency=MS    requests for attributes take MS milliseconds longer
//   read_latency=MS    all reads except the first one take MS milliseconds longer
//   flush=1            at start only: closing a file is a request too, as in sshfs
//   direct=1           open files with direct_io, so that they cannot be mapped
//   max_background=N   at start only: the maximum number of reads in progress; 0 is the kernel's 12
//   serial=1           at start only: the kernel looks up the names of a directory one by one, as with libfuse before 3.17
//   reset=1            reset the counts
//
// An OPTION is one of libfuse, such as attr_timeout=0, or subtype=rclone.

#define FUSE_USE_VERSION 312
#define _FILE_OFFSET_BITS 64
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int directory;
static atomic_long latency, bandwidth, errors, short_reads, stat_errors, stat_latency, read_latency, flush, direct, serial, reset,
    max_background, error_number = EIO;
static atomic_long requests, reads, jumps, tails, bytes, opens, in_flight, most_in_flight;
// Where the last read of each open file ended.
static atomic_long ends[1 << 16];

static const struct { const char *name; atomic_long *value; } values[] = {
    {"latency", &latency}, {"bandwidth", &bandwidth}, {"errors", &errors}, {"short", &short_reads},
    {"stat_errors", &stat_errors}, {"stat_latency", &stat_latency}, {"read_latency", &read_latency}, {"flush", &flush},
    {"direct", &direct}, {"serial", &serial}, {"max_background", &max_background}, {"errno", &error_number},
    {"reset", &reset}};

// Takes a NAME=VALUE. Returns false for any other text.
static int set_value(const char *text) {
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    const size_t length = strlen(values[i].name);
    if (strncmp(text, values[i].name, length) != 0 || text[length] != '=') continue;
    *values[i].value = atol(text + length + 1);
    if (reset) reset = requests = reads = jumps = tails = bytes = opens = most_in_flight = 0;
    return 1;
  }
  return 0;
}

static int is_control(const char *path) { return strcmp(path, "/.control") == 0; }

// The path of a file in DIRECTORY.
static const char *below(const char *path) { return path[1] ? path + 1 : "."; }

// True for `of_1000` of 1000 calls, in the same order in each run.
static int happens(long of_1000) {
  static atomic_uint state = 1;
  return of_1000 > 0 && (long)((state += 0x9E3779B9) * 2654435761u >> 8) % 1000 < of_1000;
}

// Waits as long as a request for `count` bytes takes, and `more` milliseconds longer.
static void take_time(size_t count, const atomic_long *more) {
  requests++;
  const long now = ++in_flight;
  if (now > most_in_flight) most_in_flight = now;
  const long transfer = bandwidth > 0 ? (long)count / bandwidth : 0;
  // Waits in small steps, because the latency may change meanwhile.
  long left;
  for (long passed = 0; passed < (left = (latency + (more ? *more : 0)) * 1000 + transfer);) {
    const long step = left - passed < 20000 ? left - passed : 20000;
    usleep((useconds_t)step);
    passed += step;
  }
  in_flight--;
}

static int get_attributes(const char *path, struct stat *status, struct fuse_file_info *info) {
  (void)info;
  if (is_control(path)) {
    *status = (struct stat){.st_mode = S_IFREG | 0644, .st_nlink = 1};
    return 0;
  }
  // Every lookup of .control asks for the root too, which is therefore never slow.
  if (path[1]) take_time(0, &stat_latency);
  if (path[1] && happens(stat_errors)) return -(int)error_number;
  return fstatat(directory, below(path), status, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

static int list(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
                enum fuse_readdir_flags flags) {
  (void)offset, (void)info, (void)flags;
  take_time(0, NULL);
  DIR *all = fdopendir(openat(directory, below(path), O_RDONLY | O_CLOEXEC));
  if (!all) return -errno;
  for (struct dirent *entry; (entry = readdir(all));) fill(buffer, entry->d_name, NULL, 0, 0);
  closedir(all);
  return 0;
}

static int open_file(const char *path, struct fuse_file_info *info) {
  info->direct_io = is_control(path) || direct;
  if (is_control(path)) return 0;
  opens++;
  take_time(0, NULL);
  const int file = openat(directory, below(path), O_RDONLY | O_CLOEXEC);
  info->fh = (unsigned)file;
  if (file >= 0) ends[(unsigned)file % (sizeof ends / sizeof *ends)] = 0;
  return file < 0 ? -errno : 0;
}

static int read_file(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info) {
  if (is_control(path)) {
    if (offset > 0) return 0;
    return snprintf(buffer, size, "requests %ld\nreads %ld\njumps %ld\ntails %ld\nbytes %ld\nopens %ld\nin_flight %ld\nunder_way %ld\n",
                    requests, reads, jumps, tails, bytes, opens, most_in_flight, in_flight);
  }
  reads++;
  const size_t file = info->fh % (sizeof ends / sizeof *ends);
  if (atomic_exchange(&ends[file], offset + (off_t)size) != offset) jumps++;
  take_time(size, reads > 1 ? &read_latency : NULL);
  if (happens(errors)) return -(int)error_number;
  if (happens(short_reads)) size /= 2;
  const ssize_t count = pread((int)info->fh, buffer, size, offset);
  if (count > 0) bytes += count;
  struct stat status;
  if (fstat((int)info->fh, &status) == 0 && offset + count == status.st_size) tails++;
  return count < 0 ? -errno : (int)count;
}

static int write_control(const char *path, const char *text, size_t size, off_t offset, struct fuse_file_info *info) {
  (void)path, (void)offset, (void)info;
  char copy[64] = "";
  memcpy(copy, text, size < sizeof copy ? size : sizeof copy - 1);
  return set_value(copy) ? (int)size : -EINVAL;
}

static int truncate_control(const char *path, off_t size, struct fuse_file_info *info) {
  (void)size, (void)info;
  return is_control(path) ? 0 : -EROFS;
}

static int flush_file(const char *path, struct fuse_file_info *info) {
  (void)info;
  // The kernel remembers ENOSYS, and then sends no more flush requests.
  if (!flush) return -ENOSYS;
  if (!is_control(path)) take_time(0, NULL);
  return 0;
}

static int release(const char *path, struct fuse_file_info *info) { return is_control(path) ? 0 : close((int)info->fh); }

static void *begin(struct fuse_conn_info *connection, struct fuse_config *config) {
  (void)config;
  if (max_background > 0) {
    connection->max_background = (unsigned)max_background;
    connection->congestion_threshold = (unsigned)max_background * 3 / 4;
  }
  return NULL;
}

// Changes libfuse's first message, which answers INIT. libfuse before 3.17 never tells the kernel that it may look up several names of a
// directory at the same time. gcsfuse and file systems written with go-fuse do.
ssize_t writev(int file, const struct iovec *parts, int count) {
  static atomic_int has_answered;
  const unsigned parallel_lookups = 1 << 18;  // FUSE_PARALLEL_DIROPS of struct fuse_init_out, after three words of 32 bits.
  if (!has_answered++ && !serial && count == 2 && parts[1].iov_len >= 24) ((unsigned *)parts[1].iov_base)[3] |= parallel_lookups;
  return syscall(SYS_writev, file, parts, count);
}

int main(int count, char **arguments) {
  if (count < 3 || (directory = open(arguments[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
    fprintf(stderr, "usage: below DIRECTORY MOUNTPOINT [NAME=VALUE...] [OPTION...]\n");
    return 64;
  }
  char options[512] = "allow_other,default_permissions,max_threads=100,max_idle_threads=100";
  for (int i = 3; i < count; i++) {
    if (set_value(arguments[i])) continue;
    strcat(strcat(options, ","), arguments[i]);
  }
  const struct fuse_operations operations = {
      .init = begin, .getattr = get_attributes, .readdir = list, .open = open_file, .read = read_file,
      .write = write_control, .truncate = truncate_control, .flush = flush_file, .release = release};
  char *all[] = {arguments[0], "-o", options, arguments[2], NULL};
  return fuse_main(4, all, &operations, NULL);
}
