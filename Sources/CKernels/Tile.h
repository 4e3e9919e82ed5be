// Small matrix products whose sums stay in registers: attention's, and what convolutions and linear layers are made of.
// Operands are made of units of four bytes: a float, or, where the processor multiplies bf16 (TC_BF16_DOT), a pair of
// bf16.

enum { tile_vectors = TC_LANES == 16 ? 4 : 2, tile_rows = 6, tile_widest = 5 };

static inline __attribute__((always_inline)) lanes fused_dot(lanes sum, uint32_t a, units b, int pairs) {
#if defined(TC_BF16_DOT)
  if (pairs) {
    units all = a - (units){};
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)all, (__m512bh)b);
  }
#endif
  return sum + float_from_bits(a) * (lanes)b;
}

// c[rows, vectors·lanes] (+)= from[rows][k] · b[k, vectors·lanes]. `b` lies in panels of 16 columns that are `step` units
// apart, with rows `ldb` apart; a plain matrix is one whose panels are 16 apart.
static inline __attribute__((always_inline)) void tile(float *restrict c, size_t ldc,
                                                       const uint32_t *const *restrict from,
                                                       const uint32_t *restrict b, size_t ldb, size_t step, size_t k,
                                                       int rows, int vectors, int pairs, int adds) {
  lanes sum[tile_rows][tile_widest];
  // Units that are floats were written as such.
  typedef uint32_t __attribute__((may_alias)) unit;
  const unit *a[tile_rows];
  for (int i = 0; i < rows; i++) {
    a[i] = from[i];
    for (int j = 0; j < vectors; j++)
      sum[i][j] = adds ? *(const lanes *)(c + i * ldc + j * TC_LANES) : (lanes){};
  }
  for (size_t p = 0; p < k; p++) {
    units row[tile_widest];
    for (int j = 0; j < vectors; j++) {
      size_t column = (size_t)j * TC_LANES;
      row[j] = *(const units *)(b + column / 16 * step + p * ldb + column % 16);
    }
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < vectors; j++) sum[i][j] = fused_dot(sum[i][j], a[i][p], row[j], pairs);
  }
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < vectors; j++) *(lanes *)(c + i * ldc + j * TC_LANES) = sum[i][j];
}

// The same with rows of `a` that are `lda` apart.
static inline __attribute__((always_inline)) void tile_dense(float *restrict c, size_t ldc,
                                                             const uint32_t *restrict a, size_t lda,
                                                             const uint32_t *restrict b, size_t ldb, size_t step,
                                                             size_t k, int rows, int vectors, int pairs, int adds) {
  const uint32_t *from[tile_rows];
  for (int i = 0; i < rows; i++) from[i] = a + i * lda;
  tile(c, ldc, from, b, ldb, step, k, rows, vectors, pairs, adds);
}

// All rows of a column of tiles that is `vectors` wide; what is wider than usual has fewer rows in registers.
static inline __attribute__((always_inline)) void tile_column(float *restrict c, size_t ldc,
                                                              const uint32_t *restrict a, size_t lda,
                                                              const uint32_t *restrict b, size_t ldb,
                                                              size_t m, size_t k, int vectors, int pairs,
                                                              int adds) {
  size_t i = 0;
  if (vectors <= tile_vectors)
    for (; i + tile_rows <= m; i += tile_rows)
      tile_dense(c + i * ldc, ldc, a + i * lda, lda, b, ldb, 16, k, tile_rows, vectors, pairs, adds);
  for (; i + 4 <= m; i += 4) tile_dense(c + i * ldc, ldc, a + i * lda, lda, b, ldb, 16, k, 4, vectors, pairs, adds);
  for (; i + 2 <= m; i += 2) tile_dense(c + i * ldc, ldc, a + i * lda, lda, b, ldb, 16, k, 2, vectors, pairs, adds);
  for (; i < m; i++) tile_dense(c + i * ldc, ldc, a + i * lda, lda, b, ldb, 16, k, 1, vectors, pairs, adds);
}

// c[m, n] (+)= a[m, k] · b[k, n]; n is a multiple of TC_LANES.
static inline __attribute__((always_inline)) void multiply_as(float *restrict c, size_t ldc,
                                                              const uint32_t *restrict a, size_t lda,
                                                              const uint32_t *restrict b, size_t ldb,
                                                              size_t m, size_t n, size_t k, int pairs,
                                                              int adds) {
  size_t j = 0;
#if TC_LANES == 16
  // The keys of a prompt, 77, are five vectors.
  if (n == tile_widest * TC_LANES) {
    tile_column(c, ldc, a, lda, b, ldb, m, k, tile_widest, pairs, adds);
    return;
  }
#endif
  for (; j + tile_vectors * TC_LANES <= n; j += tile_vectors * TC_LANES)
    tile_column(c + j, ldc, a, lda, b + j, ldb, m, k, tile_vectors, pairs, adds);
  for (; j + 2 * TC_LANES <= n; j += 2 * TC_LANES)
    tile_column(c + j, ldc, a, lda, b + j, ldb, m, k, 2, pairs, adds);
  for (; j < n; j += TC_LANES) tile_column(c + j, ldc, a, lda, b + j, ldb, m, k, 1, pairs, adds);
}

static void multiply(float *restrict c, size_t ldc, const uint32_t *restrict a, size_t lda,
                     const uint32_t *restrict b, size_t ldb, size_t m, size_t n, size_t k, int pairs) {
  if (pairs)
    multiply_as(c, ldc, a, lda, b, ldb, m, n, k, 1, 0);
  else
    multiply_as(c, ldc, a, lda, b, ldb, m, n, k, 0, 0);
}

static void multiply_add(float *restrict c, size_t ldc, const uint32_t *restrict a, size_t lda,
                         const uint32_t *restrict b, size_t ldb, size_t m, size_t n, size_t k, int pairs) {
  if (pairs)
    multiply_as(c, ldc, a, lda, b, ldb, m, n, k, 1, 1);
  else
    multiply_as(c, ldc, a, lda, b, ldb, m, n, k, 0, 1);
}
