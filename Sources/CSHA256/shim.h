// The instructions for SHA-256 that some x86 processors have, and Swift has no names for.

#ifndef STMOUNT_CSHA256_SHIM_H
#define STMOUNT_CSHA256_SHIM_H

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>

// Whether the processor has them.
static inline int stmount_has_sha256(void) {
  const unsigned needed = bit_SSSE3 | bit_SSE4_1;
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & needed) == needed && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

// Takes in blocks of 64 bytes. `state` is a to h, and `constants` are those of the 64 rounds.
//
// The instructions want the state as two vectors, f e b a and h g d c, and do two rounds at a time.
__attribute__((target("sha,sse4.1,ssse3"))) static inline void stmount_sha256(
    unsigned *state, const void *data, size_t blocks, const unsigned *constants) {
  typedef int words __attribute__((vector_size(16)));
  typedef char bytes __attribute__((vector_size(16)));
  const char *block = data;
  const int *old = (const int *)state;
  words first = {old[5], old[4], old[1], old[0]};
  words second = {old[7], old[6], old[3], old[2]};
  for (; blocks > 0; blocks--, block += 64) {
    const words first_before = first, second_before = second;
    // The last 16 words of the schedule.
    words schedule[4];
#pragma clang loop unroll(full)
    for (int group = 0; group < 16; group++) {
      words *const next = &schedule[group % 4];
      if (group < 4) {
        bytes raw;
        memcpy(&raw, block + 16 * group, sizeof raw);
        *next = (words)__builtin_shufflevector(raw, raw, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
      } else {
        const words last = schedule[(group + 3) % 4], before_last = schedule[(group + 2) % 4];
        const words nine_to_six_ago = __builtin_shufflevector(before_last, last, 1, 2, 3, 4);
        const words sum = __builtin_ia32_sha256msg1(*next, schedule[(group + 1) % 4]) + nine_to_six_ago;
        *next = __builtin_ia32_sha256msg2(sum, last);
      }
      words round;
      memcpy(&round, constants + 4 * group, sizeof round);
      round += *next;
      second = __builtin_ia32_sha256rnds2(second, first, round);
      first = __builtin_ia32_sha256rnds2(first, second, __builtin_shufflevector(round, round, 2, 3, 2, 3));
    }
    first += first_before;
    second += second_before;
  }
  const words front = {first[3], first[2], second[3], second[2]}, back = {first[1], first[0], second[1], second[0]};
  memcpy(state, &front, sizeof front);
  memcpy(state + 4, &back, sizeof back);
}

#else

static inline int stmount_has_sha256(void) { return 0; }
static inline void stmount_sha256(unsigned *state, const void *data, size_t blocks, const unsigned *constants) {
  (void)state, (void)data, (void)blocks, (void)constants;
}

#endif
#endif
