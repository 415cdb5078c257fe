// Linux calls that Glibc's module lacks, or that Swift cannot call: macros, variadic functions, calls newer than the C library.

#ifndef STMOUNT_CLINUX_SHIM_H
#define STMOUNT_CLINUX_SHIM_H

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

// Swift hides fork(2), which is unsafe once a thread has been started. Its only caller forks before that.
static inline pid_t stmount_fork(void) { return fork(); }

// Lets this process exit without closing files, which can block on a hanging file system (flush of FUSE): a child that shares the
// descriptor table, clone(2), does that later. Standard streams are closed at once, since somebody may wait for their end.
int clone(int (*)(void *), void *, int, void *, ...);
static inline int stmount_wait_for_end(void *parent) {
  while (getppid() == (pid_t)(intptr_t)parent) usleep(10000);
  _exit(0);
}
static inline void stmount_leave_files_to_child(void) {
  const int share_memory = 0x100, share_files = 0x400;  // CLONE_VM, CLONE_FILES, which need _GNU_SOURCE.
  const size_t size = 64 << 10;
  char *stack = (char *)malloc(size);
  if (stack) clone(stmount_wait_for_end, stack + size, share_memory | share_files | SIGCHLD, (void *)(intptr_t)getpid());
  for (int stream = 0; stream < 3; stream++) close(stream);
}

// O_DIRECT needs _GNU_SOURCE, which Glibc's module was built without.
static inline int stmount_is_direct(int open_flags) { return (open_flags & __O_DIRECT) != 0; }

// Has reads by an open file description pass the page cache by, or not: fcntl(2) with F_SETFL. 0, or -1 with errno, such as EINVAL
// where the file system cannot do that.
static inline int stmount_set_direct(int file, int is_direct) {
  const int flags = fcntl(file, F_GETFL);
  return flags < 0 ? -1 : fcntl(file, F_SETFL, is_direct ? flags | __O_DIRECT : flags & ~__O_DIRECT);
}

// A system call that may wait for a file system for ever. See stmount_call_killably.
struct stmount_call { long number, arguments[5], result; };
static inline int stmount_make_call(void *argument) {
  struct stmount_call *call = (struct stmount_call *)argument;
  const long *all = call->arguments;
  // When the thread that waits for this process ends; and so that nobody takes it for the daemon.
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  prctl(PR_SET_NAME, "stmount-wait", 0, 0, 0);
  const long result = syscall(call->number, all[0], all[1], all[2], all[3], all[4]);
  call->result = result < 0 ? -errno : result;
  _exit(0);
}

// Makes a system call in a child process that shares memory and files with this one, as vfork(2) does, so that the thread that waits
// for it can be killed. Returns the result, or an errno as a negative number.
//
// A thread that waits for FUSE itself cannot be killed once the file system has taken the request, and io_submit(2) only leaves the
// waiting to the end of the process. The child cannot be either; but nobody has to wait for it.
static inline long stmount_call_killably(struct stmount_call call) {
  const int share_memory = 0x100, share_files = 0x400, as_vfork = 0x4000;  // CLONE_VM, CLONE_FILES, CLONE_VFORK: _GNU_SOURCE.
  const int any_child = 0x40000000;  // __WALL
  char stack[16 << 10] __attribute__((aligned(16)));
  pid_t child = -1;
  // Should something kill the child alone.
  call.result = -EINTR;
  // To a sanitizer, every child has memory of its own.
#ifndef SANITIZED
  child = clone(stmount_make_call, stack + sizeof stack, share_memory | share_files | as_vfork, &call);
#endif
  if (child > 0) {
    while (waitpid(child, NULL, any_child) < 0 && errno == EINTR) {}
    return call.result;
  }
  // There is a limit of processes, and some sandboxes allow clone(2) for threads only.
  const long *all = call.arguments, result = syscall(call.number, all[0], all[1], all[2], all[3], all[4]);
  return result < 0 ? -errno : result;
}

// Reads bytes of a file as pread(2) does, killably.
static inline long stmount_read_killably(int file, void *buffer, size_t count, long long offset) {
  return stmount_call_killably((struct stmount_call){SYS_pread64, {file, (long)buffer, (long)count, (long)offset}});
}

// The number of processors that the calling thread may run on: sched_getaffinity(2), whose macros need _GNU_SOURCE. 1 if
// unknown.
static inline int stmount_processor_count(void) {
  unsigned long set[128];
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof set, set);
  int count = 0;
  for (long i = 0; i < bytes / (long)sizeof set[0]; i++) count += __builtin_popcountl(set[i]);
  return count > 0 ? count : 1;
}

// A descriptor that is readable while one of some blocked signals is pending: signalfd(2). -1 with errno on failure.
static inline int stmount_signal_descriptor(const sigset_t *signals) {
  return signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

// The number of the next pending signal of such a descriptor; 0 if there is none.
static inline int stmount_next_signal(int descriptor) {
  struct signalfd_siginfo info;
  return read(descriptor, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

// The ID of a descriptor's mount, and its file system's device number: statx(2), without a request to the file system. Returns
// 2 if the ID is unique for ever (Linux 6.8), 1 if the kernel reuses it (5.8), 0 if the kernel does not tell it, and -1 with
// errno on failure.
static inline int stmount_mount_id(int descriptor, unsigned long long *id, unsigned *major, unsigned *minor) {
  // struct statx, which some C libraries lack or have without these fields.
  union { unsigned long long longs[32]; unsigned words[64]; } status = {{0}};
  const unsigned empty_path = 0x1000, no_sync = 0x4000;
  const unsigned mount_id = 0x1000, unique_id = 0x4000;
  if (syscall(SYS_statx, descriptor, "", empty_path | no_sync, mount_id | unique_id, &status) != 0) return -1;
  *id = status.longs[18];
  *major = status.words[34];
  *minor = status.words[35];
  return status.words[0] & unique_id ? 2 : status.words[0] & mount_id ? 1 : 0;
}

// What fstat(2) says of a file, without the time of the last access, killably: statx(2). FUSE asks the file system below for that time
// after each read, and for the rest if what it knows has expired or `is_forced`.
struct stmount_contents {
  unsigned long long device, inode, size;
  long long modified, changed;
  unsigned modified_nanoseconds, changed_nanoseconds, mode, links, user, group;
};
static inline int stmount_get_contents(int file, int is_forced, struct stmount_contents *contents) {
  union { long long longs[32]; unsigned words[64]; } status = {{0}};
  const long empty_path = 0x1000, force_sync = 0x2000, all_but_access_time = 0x7FF & ~0x20;
  const long result = stmount_call_killably((struct stmount_call){
      SYS_statx, {file, (long)"", is_forced ? empty_path | force_sync : empty_path, all_but_access_time, (long)&status}});
  if (result != 0) return (int)result;
  const unsigned long long major = status.words[34], minor = status.words[35];
  *contents = (struct stmount_contents){
      // gnu_dev_makedev(3).
      .device = (major & 0xFFF) << 8 | (major & ~0xFFFull) << 32 | (minor & 0xFF) | (minor & ~0xFFull) << 12,
      .inode = (unsigned long long)status.longs[4], .size = (unsigned long long)status.longs[5],
      .modified = status.longs[14], .changed = status.longs[12],
      .modified_nanoseconds = status.words[30], .changed_nanoseconds = status.words[26],
      .mode = status.words[7] & 0xFFFF, .links = status.words[4], .user = status.words[5], .group = status.words[6]};
  return 0;
}

// The number of pages of a file's range in memory: cachestat(2), Linux 6.5, not in every C library yet. -1 with
// errno if the kernel lacks it or refuses it to this user.
static inline long stmount_cached_pages(int fd, unsigned long long offset, unsigned long long length) {
  struct { unsigned long long offset, length; } range = {offset, length};
  struct { unsigned long long cached, dirty, writeback, evicted, recently_evicted; } status = {0, 0, 0, 0, 0};
  const long number = 451;  // The same on every architecture of this century.
  return syscall(number, fd, &range, &status, 0) == 0 ? (long)status.cached : -1;
}

// The type of a file's file system: f_type of fstatfs(2), which Glibc's module lacks. 0 if unknown.
static inline unsigned stmount_file_system_magic(int file) {
  struct statfs status;
  return fstatfs(file, &status) == 0 ? (unsigned)status.f_type : 0;
}

// Reads bytes of a file that are in memory: preadv2(2) with RWF_NOWAIT, which needs _GNU_SOURCE. EAGAIN if it would have to
// wait, EOPNOTSUPP if the file system does not support it. tmpfs does not, but all that it has is in memory.
static inline ssize_t stmount_read_cached(int file, void *buffer, size_t length, off_t offset) {
  const struct iovec target = {buffer, length};
  const int nowait = 8;  // RWF_NOWAIT
  const unsigned tmpfs = 0x01021994;
  const ssize_t got = syscall(SYS_preadv2, file, &target, 1, offset, 0, nowait);
  if (got >= 0 || errno != EOPNOTSUPP) return got;
  if (stmount_file_system_magic(file) == tmpfs) return pread(file, buffer, length, offset);
  errno = EOPNOTSUPP;
  return -1;
}

// Copies memory of this process that may not be readable: process_vm_readv(2), which needs _GNU_SOURCE. EFAULT if it is not.
static inline ssize_t stmount_copy_own_memory(const void *source, void *target, size_t length) {
  const struct iovec from = {(void *)(uintptr_t)source, length}, to = {target, length};
  // 64 bits each, since those that go by the stack would have anything in their upper half.
  return syscall(SYS_process_vm_readv, getpid(), &to, 1UL, &from, 1UL, 0UL);
}

// Moves bytes of a file into a pipe, a socket or another file: sendfile(2). A pipe then holds the file's pages, not copies of
// them.
static inline ssize_t stmount_sendfile(int file, off_t offset, int target, size_t length) {
  return sendfile(target, file, &offset, length);
}

// F_SETPIPE_SZ, which needs _GNU_SOURCE too. Returns the size that the pipe has then, or -1.
static inline int stmount_set_pipe_size(int pipe, int size) { return fcntl(pipe, 1031, size); }

static inline int stmount_pipe_is_empty(int pipe) {
  int count = 0;
  return ioctl(pipe, FIONREAD, &count) == 0 && count == 0;
}

// Copies bytes of a file to another file's position: copy_file_range(2), declared only with _GNU_SOURCE.
ssize_t copy_file_range(int, off_t *, int, off_t *, size_t, unsigned);
static inline ssize_t stmount_copy_range(int source, off_t offset, int target, size_t length) {
  return copy_file_range(source, &offset, target, NULL, length, 0);
}

// Starts write-back of bytes of a file: sync_file_range(2), declared only with _GNU_SOURCE.
int sync_file_range(int, off_t, off_t, unsigned);
static inline void stmount_begin_writeback(int file, off_t offset, off_t length) {
  const unsigned write = 2;  // SYNC_FILE_RANGE_WRITE
  sync_file_range(file, offset, length, write);
}

// A file without a name in a directory: open(2) with O_TMPFILE, which needs _GNU_SOURCE. -1 with errno.
static inline int stmount_open_unnamed(const char *directory, mode_t mode) {
  return open(directory, __O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
}

// The free space of a file system for this user, in bytes: statfs(2). -1 with errno.
struct stmount_space {
  unsigned long long free;
  // Set if files can share blocks, so that a copy takes no space: Btrfs, XFS, bcachefs.
  int shares_blocks;
};
static inline int stmount_get_space(const char *path, struct stmount_space *space) {
  struct statfs status;
  if (statfs(path, &status) != 0) return -1;
  // A file system without blocks has no limit either. A read-only one refuses the file itself, which says more.
  if (status.f_blocks == 0 || (status.f_flags & ST_RDONLY)) { errno = ENOTSUP; return -1; }
  const unsigned long long blocks = geteuid() == 0 ? status.f_bfree : status.f_bavail;
  if (__builtin_mul_overflow(blocks, (unsigned long long)status.f_bsize, &space->free)) space->free = ~0ULL;
  const unsigned type = (unsigned)status.f_type;
  space->shares_blocks = type == 0x9123683E || type == 0x58465342 || type == 0xCA451A4E;
  return 0;
}

// Starts a process that asks the file system of an open file whether it answers: fstatfs(2). As another user if this process is
// root's and `user` is not. Returns the process, whose exit status is 0 or an errno, or -1 with errno.
//
// A process of its own asks, since asking can take for ever. A thread that waits for a file system in a program can outlast SIGKILL,
// and its process with it. The child keeps no other file open and allocates no memory, so this process may have threads.
static inline pid_t stmount_ask_file_system(int file, uid_t user, gid_t group) {
  const pid_t child = fork();
  if (child != 0) return child;
  struct statfs status;
  const long close_range = 436;
  // By system calls, since the C library's functions would look for other threads.
  if (geteuid() == 0 && user != 0 &&
      (syscall(SYS_setgroups, 0, NULL) != 0 || syscall(SYS_setgid, group) != 0 || syscall(SYS_setuid, user) != 0))
    _exit(errno);
  dup2(file, 0);
  if (syscall(close_range, 1, ~0U, 0) != 0)
    for (int other = 1; other < 1024; other++) close(other);
  if (fstatfs(0, &status) != 0) _exit(errno);
  // The kernel itself answers users who may not ask, with zeros.
  _exit(status.f_bsize > 0 ? 0 : EACCES);
}

// prctl(2) is variadic.
static inline void stmount_gain_no_privileges(void) { prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

// Keeps only those capabilities of this thread that are in a set of bits: capabilities(7). 0, or -1 with errno. A process
// that cannot narrow the bounding set has no use for it either.
static inline int stmount_keep_capabilities(unsigned long long kept) {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++)
    if ((kept >> number & 1) == 0) prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) return -1;
  for (int half = 0; half < 2; half++) {
    const unsigned bits = (unsigned)(kept >> (32 * half));
    data[half].permitted &= bits;
    data[half].effective &= bits;
    data[half].inheritable = 0;
  }
  return (int)syscall(SYS_capset, &header, data);
}

// Forbids the calling thread, and threads that it starts, to open files and to use TCP: landlock(7), whose numbers are the
// same on every architecture. 0, or -1 with errno, as before Linux 5.13.
static inline int stmount_deny_files(void) {
  const long create = 444, restrict_self = 446;
  const long version = syscall(create, NULL, 0, 1);
  if (version < 1) return -1;
  // Every right of this version. A right that is not named is not denied, and an unknown right is an error.
  struct { unsigned long long files, network; } denied = {0x1FFF, 0};
  if (version >= 2) denied.files |= 1 << 13;
  if (version >= 3) denied.files |= 1 << 14;
  if (version >= 4) denied.network = 3;
  if (version >= 5) denied.files |= 1 << 15;
  const int rules = (int)syscall(create, &denied, version >= 4 ? 16 : 8, 0);
  if (rules < 0) return -1;
  const long result = syscall(restrict_self, rules, 0);
  close(rules);
  return (int)result;
}

// Returns freed memory to the system: now, and later blocks of a size and more at once, which every thread would otherwise keep.
// Threads share two heaps. mallopt(3), malloc_trim(3), which Glibc's module lacks.
static inline void stmount_return_freed_memory(int size) {
  mallopt(M_MMAP_THRESHOLD, size);
  mallopt(M_ARENA_MAX, 2);
  malloc_trim(0);
}

#endif
