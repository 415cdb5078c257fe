// The model. Each byte is computed from its position, so it can be verified without a second copy.
#include "load.h"

struct tensor tensors[TENSORS];

// One tensor has half of the bytes, as an embedding does, and the others have all sizes. The sizes are odd, so that tensors
// begin anywhere in a page.
void layOut(off_t size) {
  off_t at = 0, rest = size / 2;
  for (int i = 0; i < TENSORS; i++) {
    struct tensor *tensor = &tensors[i];
    snprintf(tensor->name, sizeof tensor->name, "layers/%d/weight", i);
    tensor->start = at;
    tensor->size = i == 0 ? size / 2 : rest / TENSORS * (off_t)(1 + mix(i) % 100) / 50;
    tensor->size |= 1;
    at += tensor->size;
  }
}

static uint64_t word(off_t place) { return mix(place / 8); }

// The bytes of the data from `place` on.
static void fill(unsigned char *bytes, off_t place, size_t count) {
  size_t i = 0;
  for (; i < count && (place + i) % 8; i++) bytes[i] = word(place + i) >> 8 * ((place + i) % 8);
  for (; i + 8 <= count; i += 8) {
    uint64_t value = word(place + i);
    memcpy(bytes + i, &value, 8);
  }
  for (; i < count; i++) bytes[i] = word(place + i) >> 8 * ((place + i) % 8);
}

void verify(const struct tensor *tensor, const unsigned char *bytes, off_t offset, size_t count) {
  unsigned char expected[PAGE];
  for (size_t i = 0; i < count; i += sizeof expected) {
    size_t part = count - i < sizeof expected ? count - i : sizeof expected;
    fill(expected, tensor->start + offset + i, part);
    if (!memcmp(bytes + i, expected, part)) continue;
    size_t at = 0;
    while (bytes[i + at] == expected[at]) at++;
    fprintf(stderr, "load: byte %ld of %s is %02x in place of %02x\n", (long)(offset + i + at), tensor->name,
            bytes[i + at], expected[at]);
    atomic_fetch_add(&totals->failures, 1);
    _exit(1);
  }
  atomic_fetch_add(&totals->bytes, count);
}

void pathOf(char path[PATH_MAX], int mount, int tensor) {
  snprintf(path, PATH_MAX, "%s/%s", mounts[mount], tensors[tensor].name);
}

void writeModel(const char *path) {
  FILE *file = fopen(path, "w");
  char *header = NULL;
  size_t length;
  FILE *text = open_memstream(&header, &length);
  if (!file || !text) fail("write", path);
  for (int i = 0; i < TENSORS; i++)
    fprintf(text, "%c\"%s\":{\"dtype\":\"U8\",\"shape\":[%ld],\"data_offsets\":[%ld,%ld]}", i ? ',' : '{',
            tensors[i].name, (long)tensors[i].size, (long)tensors[i].start, (long)(tensors[i].start + tensors[i].size));
  fputc('}', text);
  fclose(text);
  uint64_t prefix = length;
  fwrite(&prefix, sizeof prefix, 1, file);
  fwrite(header, length, 1, file);
  unsigned char bytes[16 * PAGE];
  off_t end = tensors[TENSORS - 1].start + tensors[TENSORS - 1].size;
  for (off_t at = 0; at < end; at += sizeof bytes) {
    size_t count = end - at < (off_t)sizeof bytes ? (size_t)(end - at) : sizeof bytes;
    fill(bytes, at, count);
    if (fwrite(bytes, count, 1, file) != 1) fail("write", path);
  }
  if (fclose(file)) fail("write", path);
  free(header);
}
