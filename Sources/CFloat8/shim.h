// FP8 to float32 by instructions that most x86 processors have, and Swift has no names for.

#ifndef STMOUNT_CFLOAT8_SHIM_H
#define STMOUNT_CFLOAT8_SHIM_H

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>

// Whether the processor has AVX2 and F16C, and the system keeps their registers (XGETBV).
static inline int stmount_has_float8(void) {
  const unsigned needed = bit_OSXSAVE | bit_AVX | bit_F16C;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & needed) != needed) return 0;
  __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return (a & 6) == 6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

// Writes `scale` times each of the first codes, whole vectors of 16, and returns how many those were. `count` codes are E5M2 or E4M3.
//
// A code is a half-precision number with its mantissa cut (E5M2), or one whose exponent is 8 too small (E4M3). The instruction
// converts subnormal ones at full speed. `scale` times 256 must be finite. Every NaN is the one of the tables: 0x7FC00000.
__attribute__((target("avx2,f16c"))) static inline size_t stmount_scale_float8(
    const void *codes, void *target, size_t count, int is_e5m2, float scale) {
  typedef unsigned char bytes __attribute__((vector_size(16)));
  typedef short halves __attribute__((vector_size(16)));
  typedef short words __attribute__((vector_size(32)));
  typedef float floats __attribute__((vector_size(32)));
  const float factor = is_e5m2 ? scale : scale * 256;
  const floats factors = {factor, factor, factor, factor, factor, factor, factor, factor};
  const short shift = is_e5m2 ? 8 : 7, last = is_e5m2 ? 0x7C00 : 0x7E << 7;
  const char *source = codes;
  char *place = target;
  size_t done = 0;
  for (; done + 16 <= count; done += 16, source += 16, place += 64) {
    bytes raw;
    memcpy(&raw, source, sizeof raw);
    const words wide = __builtin_convertvector(raw, words);
    const words magnitude = (wide & 0x7F) << shift;
    const words is_nan = magnitude > last;
    const words number = (magnitude | (wide & 0x80) << 8) & ~is_nan;
    const words all = number | (is_nan & 0x7E00);
    const halves low = __builtin_shufflevector(all, all, 0, 1, 2, 3, 4, 5, 6, 7);
    const halves high = __builtin_shufflevector(all, all, 8, 9, 10, 11, 12, 13, 14, 15);
    const floats first = (floats)__builtin_ia32_vcvtph2ps256(low) * factors;
    const floats second = (floats)__builtin_ia32_vcvtph2ps256(high) * factors;
    memcpy(place, &first, sizeof first);
    memcpy(place + 32, &second, sizeof second);
  }
  return done;
}

#else

static inline int stmount_has_float8(void) { return 0; }
static inline size_t stmount_scale_float8(
    const void *codes, void *target, size_t count, int is_e5m2, float scale) {
  (void)codes, (void)target, (void)count, (void)is_e5m2, (void)scale;
  return 0;
}

#endif
#endif
