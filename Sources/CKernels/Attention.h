// Attention that keeps no score matrix: a block of queries meets the keys block by block, with the running
// maximum and sum of Milakov and Gimelshein (2018), as FlashAttention does.

enum { key_block = 64 };

// c[m, n] += a[m, k] · b[k, n]; n is a multiple of TC_LANES, b's rows are `ldb` apart.
typedef float lanes __attribute__((vector_size(TC_LANES * 4), aligned(4)));
enum { tile_rows = 4, tile_vectors = TC_LANES == 16 ? 4 : 2 };

static inline void tile(float *restrict c, size_t ldc, const float *restrict a, size_t lda,
                        const float *restrict b, size_t ldb, size_t k, int rows, int vectors) {
  lanes sum[tile_rows][tile_vectors];
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < vectors; j++) sum[i][j] = *(const lanes *)(c + i * ldc + j * TC_LANES);
  for (size_t p = 0; p < k; p++) {
    lanes row[tile_vectors];
    for (int j = 0; j < vectors; j++) row[j] = *(const lanes *)(b + p * ldb + j * TC_LANES);
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < vectors; j++) sum[i][j] += a[i * lda + p] * row[j];
  }
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < vectors; j++) *(lanes *)(c + i * ldc + j * TC_LANES) = sum[i][j];
}

static void multiply_add(float *restrict c, size_t ldc, const float *restrict a, size_t lda,
                         const float *restrict b, size_t ldb, size_t m, size_t n, size_t k) {
  for (size_t j = 0; j < n;) {
    int vectors = n - j >= tile_vectors * TC_LANES ? tile_vectors : 1;
    for (size_t i = 0; i < m;) {
      int rows = m - i >= tile_rows ? tile_rows : 1;
      float *to = c + i * ldc + j;
      const float *from = a + i * lda, *with = b + j;
      // Constant sizes, so that the sums stay in registers.
      if (rows == tile_rows && vectors == tile_vectors)
        tile(to, ldc, from, lda, with, ldb, k, tile_rows, tile_vectors);
      else if (rows == tile_rows)
        tile(to, ldc, from, lda, with, ldb, k, tile_rows, 1);
      else if (vectors == tile_vectors)
        tile(to, ldc, from, lda, with, ldb, k, 1, tile_vectors);
      else
        tile(to, ldc, from, lda, with, ldb, k, 1, 1);
      i += (size_t)rows;
    }
    j += (size_t)vectors * TC_LANES;
  }
}

// One block of scores becomes probabilities relative to the new maximum; sums and results so far follow.
static void rescale(float *restrict scores, float *restrict result, float *maximum, float *sum, size_t keys,
                    size_t visible, size_t padded) {
  float top = *maximum;
  for (size_t j = 0; j < visible; j++) top = scores[j] > top ? scores[j] : top;
  float factor = exponential(*maximum - top);
  for (size_t j = 0; j < visible; j++) scores[j] = exponential(scores[j] - top);
  for (size_t j = visible; j < keys; j++) scores[j] = 0;
  *sum = *sum * factor + sum_floats(scores, visible);
  if (factor != 1)
    for (size_t d = 0; d < padded; d++) result[d] *= factor;
  *maximum = top;
}

typedef struct {
  float *query, *key, *value, *scores, *result;
  size_t padded;
} attention_memory;

static attention_memory attention_parts(const tc_attention *p, int thread) {
  attention_memory m;
  m.padded = (p->dimension + 15) / 16 * 16;
  m.query = (float *)((char *)p->scratch + (size_t)thread * p->scratch_size);
  m.key = m.query + tc_query_block * m.padded;
  m.value = m.key + key_block * m.padded;
  m.scores = m.value + key_block * m.padded;
  m.result = m.scores + tc_query_block * key_block;
  return m;
}

static void load_keys(const tc_attention *p, attention_memory m, size_t head, size_t first, size_t count) {
  float row[tc_chunk];
  for (size_t j = 0; j < count; j++) {
    const void *key = at(p->k, (first + j) * p->k_stride + head * p->dimension, p->element);
    for (size_t d = 0; d < p->dimension; d += tc_chunk) {
      size_t n = p->dimension - d < tc_chunk ? p->dimension - d : tc_chunk;
      load_floats(row, at(key, d, p->element), p->element, n);
      for (size_t e = 0; e < n; e++) m.key[(d + e) * key_block + j] = row[e];
    }
    float *value = m.value + j * m.padded;
    load_floats(value, at(p->v, (first + j) * p->v_stride + head * p->dimension, p->element), p->element,
                p->dimension);
    for (size_t d = p->dimension; d < m.padded; d++) value[d] = 0;
  }
  for (size_t d = 0; d < p->dimension; d++)
    for (size_t j = count; j < key_block; j++) m.key[d * key_block + j] = 0;
}

static void attention_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_attention *p = parameters;
  attention_memory m = attention_parts(p, thread);
  size_t blocks = (p->queries + tc_query_block - 1) / tc_query_block;
  for (size_t item = begin; item < end; item++) {
    size_t head = item / blocks, first = item % blocks * tc_query_block;
    size_t rows = p->queries - first < tc_query_block ? p->queries - first : tc_query_block;
    float maximum[tc_query_block], sum[tc_query_block];
    for (size_t i = 0; i < rows; i++) {
      float *query = m.query + i * m.padded;
      load_floats(query, at(p->q, (first + i) * p->q_stride + head * p->dimension, p->element), p->element,
                  p->dimension);
      for (size_t d = 0; d < p->dimension; d++) query[d] *= p->scale;
      maximum[i] = -INFINITY;
      sum[i] = 0;
    }
    memset(m.result, 0, rows * m.padded * sizeof(float));
    size_t keys = p->causal && first + rows < p->keys ? first + rows : p->keys;
    for (size_t key = 0; key < keys; key += key_block) {
      size_t count = keys - key < key_block ? keys - key : key_block;
      size_t width = (count + 15) / 16 * 16;
      load_keys(p, m, head, key, count);
      memset(m.scores, 0, rows * key_block * sizeof(float));
      multiply_add(m.scores, key_block, m.query, m.padded, m.key, key_block, rows, width, p->dimension);
      for (size_t i = 0; i < rows; i++) {
        size_t visible = count;
        if (p->causal) visible = first + i + 1 <= key ? 0 : first + i + 1 - key < count ? first + i + 1 - key : count;
        float *scores = m.scores + i * key_block;
        if (visible)
          rescale(scores, m.result + i * m.padded, &maximum[i], &sum[i], count, visible, m.padded);
        else
          memset(scores, 0, count * sizeof(float));
      }
      multiply_add(m.result, m.padded, m.scores, key_block, m.value, m.padded, rows, m.padded, count);
    }
    for (size_t i = 0; i < rows; i++) {
      float *result = m.result + i * m.padded, factor = 1.0f / sum[i];
      for (size_t d = 0; d < p->dimension; d++) result[d] *= factor;
      store_floats(at_mutable(p->destination, (first + i) * p->destination_stride + head * p->dimension,
                              p->element), result, p->element, p->dimension);
    }
  }
}
