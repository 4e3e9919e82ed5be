#define _GNU_SOURCE
#include "CKernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <time.h>

// Chains of sums that do not wait for each other: more than a processor's units have in flight. Rounds of a turn take
// some ten microseconds; in all of them together a core has had time to wake its wide units.
enum { chains = 16, rounds = 1500, turns = 50 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#define KEEP(sums) \
  for (int i = 0; i < chains; i++) __asm__ volatile("" : "+v"(sums[i]))

/// Seconds in which the chains, of 16 floats each, grow by a product in each of twice the rounds.
__attribute__((target("avx512f"))) static double singles(void) {
  __m512 sums[chains], x = _mm512_setzero_ps();
  for (int i = 0; i < chains; i++) sums[i] = x;
  double began = now();
  for (int round = 0; round < 2 * rounds; round++) {
    for (int i = 0; i < chains; i++) sums[i] = _mm512_fmadd_ps(x, x, sums[i]);
    KEEP(sums);
  }
  return now() - began;
}

/// The same number of products, two by an instruction.
__attribute__((target("avx512f,avx512bf16"))) static double pairs(void) {
  __m512 sums[chains], zero = _mm512_setzero_ps();
  __m512bh x = (__m512bh)zero;
  for (int i = 0; i < chains; i++) sums[i] = zero;
  double began = now();
  for (int round = 0; round < rounds; round++) {
    for (int i = 0; i < chains; i++) sums[i] = _mm512_dpbf16_ps(sums[i], x, x);
    KEEP(sums);
  }
  return now() - began;
}

double tc_pair_gain(void) {
  if (!tc_multiplies_pairs()) return 0;
  double single = 1, pair = 1;
  for (int turn = 0; turn < turns; turn++) {
    double seconds = singles();
    single = seconds < single ? seconds : single;
    seconds = pairs();
    pair = seconds < pair ? seconds : pair;
  }
  return single / pair;
}
#else
double tc_pair_gain(void) { return 0; }
#endif
