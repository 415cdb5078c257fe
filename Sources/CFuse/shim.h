// libfuse3 as Swift sees it. Macros, variadic functions and differences between versions end here.

#ifndef STMOUNT_CFUSE_SHIM_H
#define STMOUNT_CFUSE_SHIM_H

// The API of libfuse 3.14. Newer libraries keep it under this version number.
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// Defining _FILE_OFFSET_BITS clashes with Glibc's module; on the 64-bit systems this runs on it is not needed.
_Static_assert(sizeof(off_t) == 8, "offsets must have 64 bits");

// A macro from libfuse 3.17 on.
static inline struct fuse_session *stmount_session_new(
    struct fuse_args *args, const struct fuse_lowlevel_ops *ops, size_t ops_size, void *userdata) {
  return fuse_session_new(args, ops, ops_size, userdata);
}

static ssize_t stmount_send(int device, struct iovec *parts, int count, void *userdata) {
  (void)userdata;
  const ssize_t sent = writev(device, parts, count);
  if (sent < 0 && errno == EFAULT) errno = ENOENT;
  return sent;
}

static ssize_t stmount_receive(int device, void *request, size_t size, void *userdata) {
  (void)userdata;
  return read(device, request, size);
}

// Keeps libfuse from printing a line to standard error for each answer whose memory cannot be read, as that of a mapping of
// a disk that fails: "fuse: writing device: Bad address", by perror(3) and not by fuse_log. The kernel has answered EIO by
// then. libfuse is silent about ENOENT, a request that is not waited for any more, so that is what the call that answers
// returns. The session is mounted. 0, or a negative errno.
static inline int stmount_silence_bad_addresses(struct fuse_session *session) {
  const struct fuse_custom_io io = {.writev = stmount_send, .read = stmount_receive};
  return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}

// What the kernel can do (FUSE_CAP_*) and what of it is wanted. The flags are int in 3.14; from 3.17 on there are more
// than 32 of them, and functions to set them.
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
static inline int stmount_is_capable(const struct fuse_conn_info *conn, unsigned long flag) {
  return (conn->capable_ext & flag) != 0;
}
static inline void stmount_want(struct fuse_conn_info *conn, unsigned long flag) { fuse_set_feature_flag(conn, flag); }
static inline void stmount_refuse(struct fuse_conn_info *conn, unsigned long flag) {
  fuse_unset_feature_flag(conn, flag);
}
#else
static inline int stmount_is_capable(const struct fuse_conn_info *conn, unsigned long flag) {
  return (conn->capable & flag) != 0;
}
static inline void stmount_want(struct fuse_conn_info *conn, unsigned long flag) {
  conn->want |= conn->capable & (unsigned)flag;
}
static inline void stmount_refuse(struct fuse_conn_info *conn, unsigned long flag) { conn->want &= ~(unsigned)flag; }
#endif

// Lets files that bypass the page cache be mapped shared, where library and kernel (6.6) can.
static inline void stmount_want_direct_mmap(struct fuse_conn_info *conn) {
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
  stmount_want(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
#else
  (void)conn;
#endif
}

// True where the library can talk to the kernel through io_uring, given the option of that name.
static inline int stmount_has_io_uring(void) { return FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18); }

#endif
