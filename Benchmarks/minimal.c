// The least that a FUSE daemon can do to show parts of a file as files: what the kernel and libfuse cost by themselves.
// `run` has a column for it. It knows nothing of headers, names or changed sources, and answers every read from the
// model's descriptor.
//
//   minimal [-f] MODEL LIST MOUNTPOINT     -f: in the foreground. LIST has a line NAME <tab> OFFSET <tab> LENGTH for each file
#define _GNU_SOURCE
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct file { char *name; off_t offset, size; };
static struct file *files;
static size_t count;
static int model;
static const double day = 86400;

static struct stat status(fuse_ino_t inode) {
  struct stat s = { .st_ino = inode, .st_nlink = 1, .st_mode = S_IFDIR | 0555 };
  if (inode != FUSE_ROOT_ID) s.st_mode = S_IFREG | 0444, s.st_size = files[inode - 2].size;
  return s;
}

static void init(void *data, struct fuse_conn_info *connection) {
  (void)data;
  connection->want |= connection->capable & (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_EXPLICIT_INVAL_DATA);
  connection->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_AUTO_INVAL_DATA);
  connection->max_write = 512 << 10;
}

static int byName(const void *a, const void *b) {
  return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
  (void)parent;
  struct file wanted = { .name = (char *)name };
  struct file *found = bsearch(&wanted, files, count, sizeof *files, byName);
  struct fuse_entry_param entry = { .entry_timeout = day, .attr_timeout = day };
  if (found) entry.ino = found - files + 2, entry.attr = status(entry.ino);
  fuse_reply_entry(request, &entry);
}

static void getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info) {
  (void)info;
  struct stat s = status(inode);
  fuse_reply_attr(request, &s, day);
}

// Never asked again: FUSE_CAP_NO_OPEN_SUPPORT.
static void noOpen(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info) {
  (void)inode, (void)info;
  fuse_reply_err(request, ENOSYS);
}

static void answer(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info) {
  (void)info;
  const struct file *file = &files[inode - 2];
  if (offset > file->size) offset = file->size;
  if ((off_t)size > file->size - offset) size = file->size - offset;
  struct fuse_bufvec buffers = FUSE_BUFVEC_INIT(size);
  buffers.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
  buffers.buf[0].fd = model;
  buffers.buf[0].pos = file->offset + offset;
  fuse_reply_data(request, &buffers, 0);
}

int main(int argc, char **argv) {
  const int foreground = argc > 1 && !strcmp(argv[1], "-f");
  argc -= foreground, argv += foreground;
  if (argc != 4) return fputs("usage: minimal [-f] MODEL LIST MOUNTPOINT\n", stderr), 64;
  model = open(argv[1], O_RDONLY | O_CLOEXEC);
  FILE *list = fopen(argv[2], "r");
  if (model < 0 || !list) return perror("minimal"), 66;
  char *line = NULL;
  size_t capacity = 0, room = 0;
  while (getline(&line, &capacity, list) > 0) {
    if (count == room && !(files = realloc(files, (room = room ? 2 * room : 64) * sizeof *files))) return 71;
    char *name = strtok(line, "\t\n"), *offset = strtok(NULL, "\t\n"), *size = strtok(NULL, "\t\n");
    if (!size) return fputs("minimal: the list makes no sense\n", stderr), 65;
    files[count++] = (struct file){ strdup(name), atoll(offset), atoll(size) };
  }
  fclose(list);
  qsort(files, count, sizeof *files, byName);

  const struct fuse_lowlevel_ops operations = {
    .init = init, .lookup = lookup, .getattr = getattr, .open = noOpen, .read = answer };
  char *arguments[] = { "minimal", "-oro,fsname=minimal,subtype=minimal" };
  struct fuse_args args = FUSE_ARGS_INIT(2, arguments);
  struct fuse_session *session = fuse_session_new(&args, &operations, sizeof operations, NULL);
  if (!session || fuse_session_mount(session, argv[3]) || fuse_daemonize(foreground)) return 69;
  struct fuse_loop_config *config = fuse_loop_cfg_create();
  int result = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return result != 0;
}
