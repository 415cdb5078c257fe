// The two trees, and all permitted differences between a mount and a directory of another file system.
#include "oracle.h"
#include <dirent.h>

struct entry *entries;
size_t entryCount;
static size_t entryRoom;

// MARK: - Permitted differences

// Views are not listed, but can be opened by name. The plain directory has no such hidden entries.
static bool isHidden(const char *directory, const char *name) {
  return !strcmp(directory, ".")
      && (!strcmp(name, ".npy") || !strcmp(name, ".f32") || !strcmp(name, ".safetensors"));
}
static unsigned hiddenCount;

// The inode number on the mount that belongs to a number on the plain side.
static ino_t mountedInode(ino_t plain) {
  for (size_t i = 0; i < entryCount; i++) if (entries[i].inode[PLAIN] == plain) return entries[i].inode[MOUNT];
  return 0;
}

void expectSameStatus(struct stat status[SIDES]) {
  struct stat *mount = &status[MOUNT], *plain = &status[PLAIN];
  bool isRoot = plain->st_ino == entries[0].inode[PLAIN];
  // Inode numbers depend on the file system. Both sides must agree only on which names share a number.
  if (mount->st_ino != mountedInode(plain->st_ino)) differ("the inode number is %lu", mount->st_ino);
  // The size of a directory is 0 on one file system, and the size of its blocks on another.
  if (S_ISDIR(mount->st_mode)) mount->st_size = plain->st_size = 0;
  // Other file systems count allocated blocks, and allocate in advance.
  else if (mount->st_blocks != (mount->st_size + 511) / 512) differ("st_blocks is %ld", mount->st_blocks);
  if (isRoot) plain->st_nlink -= hiddenCount;
  // st_dev and st_blksize depend on the file system; ctime cannot be set on the plain side; reads change atime.
  if (mount->st_mode != plain->st_mode) differ("st_mode is %o, but %o", mount->st_mode, plain->st_mode);
  if (mount->st_size != plain->st_size) differ("st_size is %ld, but %ld", mount->st_size, plain->st_size);
  if (mount->st_nlink != plain->st_nlink) differ("st_nlink is %lu, but %lu", mount->st_nlink, plain->st_nlink);
  if (mount->st_uid != plain->st_uid || mount->st_gid != plain->st_gid) differ("the owner differs");
  if (mount->st_rdev != plain->st_rdev) differ("st_rdev differs");
  if (mount->st_mtim.tv_sec != plain->st_mtim.tv_sec || mount->st_mtim.tv_nsec != plain->st_mtim.tv_nsec)
    differ("the modification time differs");
}

// MARK: - Reading the trees

static int compareNames(const void *left, const void *right) {
  return strcmp(*(char *const *)left, *(char *const *)right);
}

// All names in a directory except "." and "..", in the order of its file system.
static char **namesIn(int root, const char *path, size_t *count) {
  int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *stream = fd < 0 ? NULL : fdopendir(fd);
  if (!stream) fail("list", path);
  char **names = NULL;
  size_t room = 0;
  *count = 0;
  for (struct dirent *found; (found = readdir(stream));) {
    if (!strcmp(found->d_name, ".") || !strcmp(found->d_name, "..")) continue;
    if (*count == room && !(names = realloc(names, (room = 2 * room + 64) * sizeof *names))) fail("memory", path);
    names[(*count)++] = strdup(found->d_name);
  }
  closedir(stream);
  return names;
}

// Both sides must have the same names. The order depends on the file system. Later listings must have the order that the mount has
// now; other tests check that it is sorted.
static void compareListings(struct entry *directory, char **plain, size_t plainCount) {
  size_t count;
  char **names = namesIn(roots[MOUNT], directory->path, &count);
  char **sorted = malloc((count + 1) * sizeof *sorted);
  memcpy(sorted, names, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, compareNames);
  size_t i = 0;
  for (size_t j = 0; j <= plainCount; j++) {
    if (j < plainCount && isHidden(directory->path, plain[j])) continue;
    int order = i == count ? 1 : j == plainCount ? -1 : strcmp(sorted[i], plain[j]);
    if (i == count && j == plainCount) break;
    if (order > 0) differ("'%s' does not list '%s'", directory->path, plain[j]);
    if (order < 0) differ("'%s' lists '%s', which the plain directory does not have", directory->path, sorted[i]);
    i++;
  }
  free(sorted);
  directory->nameCount = count + 2;
  directory->names = malloc(directory->nameCount * sizeof *names);
  directory->positions = malloc(directory->nameCount * sizeof *directory->positions);
  directory->names[0] = ".", directory->names[1] = "..";
  memcpy(directory->names + 2, names, count * sizeof *names);
  for (i = 0; i < directory->nameCount; i++) directory->positions[i] = -1;
  free(names);
}

static void readEntry(const char *path) {
  struct stat status[SIDES];
  for (int side = 0; side < SIDES; side++)
    if (fstatat(roots[side], path, &status[side], AT_SYMLINK_NOFOLLOW)) fail("stat", path);
  if (entryCount == entryRoom) entries = realloc(entries, (entryRoom = 2 * entryRoom + 1024) * sizeof *entries);
  if (!entries) fail("memory", path);
  struct entry *entry = &entries[entryCount++];
  *entry = (struct entry){ strdup(path), S_ISDIR(status[PLAIN].st_mode), status[PLAIN].st_size,
                           { status[MOUNT].st_ino, status[PLAIN].st_ino }, NULL, NULL, 0 };
  note("stat '%s'", path);
  if (!entry->isDirectory) return expectSameStatus(status);
  size_t count;
  char **names = namesIn(roots[PLAIN], path, &count);
  // Sorts the entries, so that a run does not depend on the order of the plain side.
  qsort(names, count, sizeof *names, compareNames);
  compareListings(entry, names, count);
  for (size_t i = 0; i < count; i++) if (isHidden(path, names[i])) hiddenCount++;
  expectSameStatus(status);
  for (size_t i = 0; i < count; i++) {
    char *child;
    if (asprintf(&child, "%s%s%s", strcmp(path, ".") ? path : "", strcmp(path, ".") ? "/" : "", names[i]) < 0)
      fail("memory", path);
    readEntry(child);
    free(child);
    free(names[i]);
  }
  free(names);
}

static int compareInodes(const void *left, const void *right) {
  ino_t a = *(const ino_t *)left, b = *(const ino_t *)right;
  return (a > b) - (a < b);
}

void readTrees(void) {
  readEntry(".");
  ino_t *inodes = malloc(entryCount * sizeof *inodes);
  for (size_t i = 0; i < entryCount; i++) inodes[i] = entries[i].inode[MOUNT];
  qsort(inodes, entryCount, sizeof *inodes, compareInodes);
  for (size_t i = 1; i < entryCount; i++)
    if (inodes[i] == inodes[i - 1]) differ("two files have the inode number %lu", inodes[i]);
  free(inodes);
}

// MARK: - Choosing

// Prefers directories and larger files, which are few among thousands of small files.
const struct entry *someEntry(void) {
  const struct entry *entry = &entries[below(entryCount)];
  for (uint64_t tries = below(4) * 20; tries > 0 && !entry->isDirectory && entry->size < 256; tries--)
    entry = &entries[below(entryCount)];
  return entry;
}

const char *somePath(void) {
  static char path[2 * PAGE];
  const char *known = someEntry()->path;
  const char *slash = strrchr(known, '/');
  int parent = slash ? slash - known : 1;
  const char *other = someEntry()->path, *otherName = strrchr(other, '/');
  otherName = otherName ? otherName + 1 : other;
  switch (below(20)) {
    case 0: snprintf(path, sizeof path, "%s/", known); break;
    case 1: snprintf(path, sizeof path, ".//%s/.", known); break;
    case 2: snprintf(path, sizeof path, "%s/..", known); break;
    // A name that exists in another directory, and perhaps here too.
    case 3: snprintf(path, sizeof path, "%.*s/%s", parent, slash ? known : ".", otherName); break;
    case 4: snprintf(path, sizeof path, "%s/%s", known, otherName); break;
    case 5: snprintf(path, sizeof path, "%s%c", known, (int)(1 + below(255))); break;
    case 6: snprintf(path, sizeof path, "%.*s", (int)below(strlen(known)), known); break;
    case 7: {  // A component of about NAME_MAX bytes, or of many more.
      size_t count = below(2) ? 250 + below(10) : below(4000);
      memset(path, 'n', count);
      path[count] = 0;
      break;
    }
    default: snprintf(path, sizeof path, "%s", known);
  }
  // The parent of the root is outside of the trees.
  if (!strcmp(path, "./..") || strstr(path, "..") == path) snprintf(path, sizeof path, "%s", known);
  return path;
}
