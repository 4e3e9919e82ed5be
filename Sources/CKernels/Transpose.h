// Sixteen vectors of sixteen units: rows become columns. In each of four stages two vectors exchange the units whose row
// and column differ in one bit.

#if TC_LANES == 16
#define LOW(n, i) ((i) & (n) ? 16 + ((i) ^ (n)) : (i))
#define HIGH(n, i) ((i) & (n) ? 16 + (i) : (i) ^ (n))
#define ALL(of, n)                                                                                                 \
  of(n, 0), of(n, 1), of(n, 2), of(n, 3), of(n, 4), of(n, 5), of(n, 6), of(n, 7), of(n, 8), of(n, 9), of(n, 10),    \
      of(n, 11), of(n, 12), of(n, 13), of(n, 14), of(n, 15)
#define STAGE(n)                                              \
  for (int i = 0; i < 16; i++)                                \
    if (!(i & n)) {                                           \
      units x = row[i], y = row[i + n];                       \
      row[i] = __builtin_shufflevector(x, y, ALL(LOW, n));    \
      row[i + n] = __builtin_shufflevector(x, y, ALL(HIGH, n)); \
    }

static inline __attribute__((always_inline)) void transpose(units row[16]) {
  STAGE(1)
  STAGE(2)
  STAGE(4)
  STAGE(8)
}

#undef STAGE
#undef ALL
#undef HIGH
#undef LOW
#endif
