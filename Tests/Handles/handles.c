// Opens files as an NFS server does: by handles, which it keeps longer than the kernel keeps the inodes.
//
//     handles MOUNT PATH...
//
// Gets a handle of each file or directory, drops the kernel's caches, and opens each by its handle:
// open_by_handle_at(2). Writes the bytes of files, and the names in directories, to standard output.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what, const char *path) {
  fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
  exit(1);
}

static struct file_handle *take(const char *path) {
  struct file_handle *handle = malloc(sizeof *handle + MAX_HANDLE_SZ);
  if (!handle) fail("malloc", path);
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount;
  if (name_to_handle_at(AT_FDCWD, path, handle, &mount, 0) != 0) fail("name_to_handle_at", path);
  return handle;
}

// Drops names and inodes, except inodes with pages in memory. Recently used ones survive the first attempt.
static void drop_caches(void) {
  const char *path = "/proc/sys/vm/drop_caches";
  for (int round = 0; round < 4; round++) {
    int file = open(path, O_WRONLY);
    if (file < 0 || write(file, "2", 1) != 1) fail("write", path);
    close(file);
  }
}

static void show(int file, const char *path) {
  struct stat status;
  if (fstat(file, &status) != 0) fail("fstat", path);
  if (S_ISDIR(status.st_mode)) {
    DIR *directory = fdopendir(file);
    if (!directory) fail("fdopendir", path);
    for (struct dirent *entry; (entry = readdir(directory));)
      if (entry->d_name[0] != '.') printf("%s\n", entry->d_name);
    closedir(directory);
    return;
  }
  static char buffer[1 << 16];
  ssize_t count;
  while ((count = read(file, buffer, sizeof buffer)) > 0) fwrite(buffer, 1, (size_t)count, stdout);
  if (count < 0) fail("read", path);
  close(file);
}

int main(int count, char **arguments) {
  if (count < 3) return 64;
  struct file_handle **handles = calloc((size_t)count, sizeof *handles);
  if (!handles) fail("calloc", "");
  for (int i = 2; i < count; i++) handles[i] = take(arguments[i]);
  int mount = open(arguments[1], O_RDONLY | O_DIRECTORY);
  if (mount < 0) fail("open", arguments[1]);
  for (int i = 2; i < count; i++) {
    drop_caches();
    int file = open_by_handle_at(mount, handles[i], O_RDONLY);
    if (file < 0) fail("open_by_handle_at", arguments[i]);
    show(file, arguments[i]);
  }
  return 0;
}
