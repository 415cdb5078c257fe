// A file system in a program of its own, below a mounted model: it shows one file, and fails when it is told to.
//
//   below [-d] FILE MOUNTPOINT
//
// FILE is shown as MOUNTPOINT/m.safetensors. With -d it is opened with direct_io, so that it cannot be mapped. While
// FILE.fails exists, its attributes cannot be had (EIO); nobody caches them.

#define FUSE_USE_VERSION 31
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *file;
static char failing[4096];
static int is_direct;

static int get_attributes(const char *path, struct stat *status, struct fuse_file_info *info) {
  (void)info;
  if (strcmp(path, "/") == 0) {
    status->st_mode = S_IFDIR | 0755;
    status->st_nlink = 2;
    return 0;
  }
  if (strcmp(path, "/m.safetensors") != 0) return -ENOENT;
  if (access(failing, F_OK) == 0) return -EIO;
  return stat(file, status) == 0 ? 0 : -errno;
}

static int open_file(const char *path, struct fuse_file_info *info) {
  (void)path;
  const int descriptor = open(file, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return -errno;
  info->fh = (unsigned)descriptor;
  info->direct_io = is_direct;
  return 0;
}

static int read_file(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info) {
  (void)path;
  const ssize_t count = pread((int)info->fh, buffer, size, offset);
  return count < 0 ? -errno : (int)count;
}

static int release(const char *path, struct fuse_file_info *info) {
  (void)path;
  return close((int)info->fh);
}

int main(int count, char **arguments) {
  is_direct = count == 4 && strcmp(arguments[1], "-d") == 0;
  if (count != 3 + is_direct) {
    fprintf(stderr, "usage: below [-d] FILE MOUNTPOINT\n");
    return 64;
  }
  file = arguments[1 + is_direct];
  snprintf(failing, sizeof failing, "%s.fails", file);
  const struct fuse_operations operations = {
      .getattr = get_attributes, .open = open_file, .read = read_file, .release = release};
  char *options[] = {arguments[0], "-o", "attr_timeout=0,entry_timeout=0,allow_other", arguments[2 + is_direct], NULL};
  return fuse_main(4, options, &operations, NULL);
}
