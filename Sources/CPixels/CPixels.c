#include "CPixels.h"

#include <stdlib.h>

#define INLINE static inline __attribute__((always_inline))

INLINE void compare(const uint8_t *restrict frame, const int16_t *restrict history, int32_t *restrict sums,
                    int32_t *restrict sizes, int count) {
  for (int i = 0; i < count; i++) {
    int32_t difference = ((int32_t)frame[i] << TC_HISTORY_FRACTION) - history[i];
    sums[i] += difference;
    sizes[i] += abs(difference);
  }
}

INLINE void advance(const uint8_t *restrict frame, int16_t *restrict history, const int32_t *restrict above,
                    const int32_t *restrict below, int32_t up, int32_t down, uint8_t *restrict output, int count) {
  const int32_t half = 1 << (TC_HISTORY_FRACTION - 1);
  for (int i = 0; i < count; i++) {
    int32_t alpha = (above[i] * up + below[i] * down) >> 4;
    int32_t old = history[i], difference = ((int32_t)frame[i] << TC_HISTORY_FRACTION) - old;
    int32_t new = old + ((difference * alpha + 128) >> 8);
    history[i] = (int16_t)new;
    output[i] = (uint8_t)((new + half) >> TC_HISTORY_FRACTION);
  }
}

// Not by target_clones: what it needs before main starts does not go with the thread sanitizer.
#ifdef __x86_64__
__attribute__((target("avx2"))) static void compareAVX2(const uint8_t *restrict frame,
                                                        const int16_t *restrict history, int32_t *restrict sums,
                                                        int32_t *restrict sizes, int count) {
  compare(frame, history, sums, sizes, count);
}

__attribute__((target("avx2"))) static void advanceAVX2(const uint8_t *restrict frame, int16_t *restrict history,
                                                        const int32_t *restrict above, const int32_t *restrict below,
                                                        int32_t up, int32_t down, uint8_t *restrict output, int count) {
  advance(frame, history, above, below, up, down, output, count);
}
#endif

void tc_steady_compare(const uint8_t *restrict frame, const int16_t *restrict history, int32_t *restrict sums,
                       int32_t *restrict sizes, int count) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return compareAVX2(frame, history, sums, sizes, count);
#endif
  compare(frame, history, sums, sizes, count);
}

void tc_steady_advance(const uint8_t *restrict frame, int16_t *restrict history, const int32_t *restrict above,
                       const int32_t *restrict below, int32_t up, int32_t down, uint8_t *restrict output, int count) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return advanceAVX2(frame, history, above, below, up, down, output, count);
#endif
  advance(frame, history, above, below, up, down, output, count);
}
