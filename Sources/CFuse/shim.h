// libfuse3 as Swift sees it. Macros, variadic functions and differences between versions end here.

#ifndef STMOUNT_CFUSE_SHIM_H
#define STMOUNT_CFUSE_SHIM_H

// The API of libfuse 3.14. Newer libraries keep it under this version number.
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
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

// The most seconds that the kernel may wait for an answer before it cuts the connection (Linux 6.15). Without this it would
// be /proc/sys/fs/fuse/default_request_timeout, and one slow disk under one reader would end the mount for all.
enum { STMOUNT_REQUEST_TIMEOUT = 65535 };

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
static inline void stmount_set_request_timeout(struct fuse_conn_info *conn) {
  conn->request_timeout = STMOUNT_REQUEST_TIMEOUT;
}
static void stmount_add_request_timeout(const struct iovec *parts, int count) { (void)parts, (void)count; }
#else
static inline void stmount_set_request_timeout(struct fuse_conn_info *conn) { (void)conn; }

// Adds the timeout to the answer to FUSE_INIT, which is the first request of all, since older libraries do not know it.
static void stmount_add_request_timeout(const struct iovec *parts, int count) {
  const struct fuse_out_header *header = (const struct fuse_out_header *)parts[0].iov_base;
  const unsigned long long first = 2;  // Numbers go up by two: FUSE_REQ_ID_STEP of the kernel.
  if (header->unique != first || header->error != 0 || count != 2 || parts[1].iov_len != sizeof(struct fuse_init_out)) return;
  struct fuse_init_out *init = (struct fuse_init_out *)parts[1].iov_base;
  init->flags |= 1u << 30;   // FUSE_INIT_EXT
  init->flags2 |= 1u << 10;  // FUSE_REQUEST_TIMEOUT >> 32
  // request_timeout comes after max_stack_depth, which older headers do not have either.
  *((unsigned short *)(&init->flags2 + 2)) = STMOUNT_REQUEST_TIMEOUT;
}
#endif

static ssize_t stmount_write_reply(int device, struct iovec *parts, int count, void *userdata) {
  (void)userdata;
  stmount_add_request_timeout(parts, count);
  const ssize_t sent = writev(device, parts, count);
  if (sent < 0 && errno == EFAULT) errno = ENOENT;
  return sent;
}

static ssize_t stmount_read_request(int device, void *request, size_t size, void *userdata) {
  (void)userdata;
  return read(device, request, size);
}

// Replaces libfuse's calls of read(2) and writev(2): hides its line on standard error for EFAULT (a mapped page could not be
// read, and the kernel has answered EIO), and adds the request timeout. Call after mounting. 0 or a negative errno.
//
// libfuse prints the line with perror(3), not with fuse_log. It prints nothing for ENOENT, an interrupted request, so the functions
// that answer return ENOENT instead of EFAULT.
static inline int stmount_replace_io(struct fuse_session *session) {
  const struct fuse_custom_io io = {.writev = stmount_write_reply, .read = stmount_read_request};
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
