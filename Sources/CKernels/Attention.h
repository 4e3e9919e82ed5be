// Attention that keeps no score matrix: a block of queries meets the keys block by block, with the running
// maximum and sum of Milakov and Gimelshein (2018), as FlashAttention does. Keys and values are packed once
// before, for the tiles of Tile.h.

// Where the processor has bf16 products, bf16 operands are multiplied in pairs; all others as floats.
static inline int in_pairs(const tc_attention *p) {
#if defined(TC_BF16_DOT)
  return p->element == tc_bf16;
#else
  return 0;
#endif
}

// Sizes in units of four bytes.
typedef struct {
  // Units along a head's dimension and along a block of keys, for the inner loops.
  size_t depth, key_depth;
  // The head's dimension in whole vectors.
  size_t width;
  size_t blocks;
} attention_shape;

static inline attention_shape attention_sizes(const tc_attention *p) {
  int pairs = in_pairs(p);
  attention_shape s;
  s.depth = pairs ? (p->dimension + 1) / 2 : p->dimension;
  s.key_depth = pairs ? p->key_block / 2 : p->key_block;
  s.width = (p->dimension + 15) / 16 * 16;
  s.blocks = tc_attention_blocks(p);
  return s;
}

static inline uint32_t *packed_keys(const tc_attention *p, attention_shape s, size_t head, size_t block) {
  return (uint32_t *)p->packed + (head * s.blocks + block) * (s.depth * p->key_block + s.key_depth * s.width);
}

static void pack_row(uint32_t *restrict to, size_t step, const void *restrict row, const tc_attention *p,
                     size_t depth) {
  if (in_pairs(p)) {
    const uint16_t *x = row;
    for (size_t d = 0; d < p->dimension / 2; d++) to[d * step] = x[2 * d] | (uint32_t)x[2 * d + 1] << 16;
    if (p->dimension % 2) to[(depth - 1) * step] = x[p->dimension - 1];
    return;
  }
  float x[tc_chunk];
  for (size_t d = 0; d < p->dimension; d += tc_chunk) {
    size_t n = p->dimension - d < tc_chunk ? p->dimension - d : tc_chunk;
    load_floats(x, at(row, d, p->element), p->element, n);
    for (size_t e = 0; e < n; e++) to[(d + e) * step] = bits_from_float(x[e]);
  }
}

// Keys first...first + count of a block, each a column of `to`.
static void pack_keys(const tc_attention *p, attention_shape s, uint32_t *restrict to, size_t first, size_t count,
                      size_t column) {
  size_t j = 0;
#if defined(TC_BF16_DOT)
  // Sixteen at a time, a pair of numbers of each.
  int far = p->k_stride * 2 * 16 > INT32_MAX;
  if (in_pairs(p) && p->dimension % 2 == 0 && !far) {
    __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i rows = _mm512_mullo_epi32(lane, _mm512_set1_epi32((int)p->k_stride * 2));
    for (; j + 16 <= count; j += 16) {
      const char *from = at(p->k, (first + j) * p->k_stride + column, p->element);
      for (size_t d = 0; d < s.depth; d++)
        _mm512_storeu_si512(to + d * p->key_block + j, _mm512_i32gather_epi32(rows, from + 4 * d, 1));
    }
  }
#endif
  for (; j < count; j++)
    pack_row(to + j, p->key_block, at(p->k, (first + j) * p->k_stride + column, p->element), p, s.depth);
}

// Values of the same keys, as rows; where bf16 is multiplied in pairs, two keys' rows as one.
static void pack_values(const tc_attention *p, attention_shape s, uint32_t *restrict to, size_t first, size_t count,
                        size_t column) {
  if (!in_pairs(p)) {
    for (size_t j = 0; j < count; j++)
      load_floats((float *)to + j * s.width, at(p->v, (first + j) * p->v_stride + column, p->element), p->element,
                  p->dimension);
    return;
  }
  for (size_t j = 0; j < count; j += 2) {
    const uint16_t *restrict x = at(p->v, (first + j) * p->v_stride + column, p->element);
    const uint16_t *restrict y = j + 1 < count ? x + p->v_stride : NULL;
    uint32_t *restrict row = to + j / 2 * s.width;
    if (y)
      for (size_t d = 0; d < p->dimension; d++) row[d] = x[d] | (uint32_t)y[d] << 16;
    else
      for (size_t d = 0; d < p->dimension; d++) row[d] = x[d];
  }
}

// Items are pairs of a head and a block of keys.
static void attention_pack_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_attention *p = parameters;
  attention_shape s = attention_sizes(p);
  for (size_t item = begin; item < end; item++) {
    size_t head = item / s.blocks, first = item % s.blocks * p->key_block;
    size_t count = p->keys - first < p->key_block ? p->keys - first : p->key_block;
    uint32_t *keys = packed_keys(p, s, head, item % s.blocks), *values = keys + s.depth * p->key_block;
    if (count < p->key_block || s.width != p->dimension)
      memset(keys, 0, (s.depth * p->key_block + s.key_depth * s.width) * 4);
    pack_keys(p, s, keys, first, count, head * p->dimension);
    pack_values(p, s, values, first, count, head * p->dimension);
  }
}

static inline lanes larger(lanes a, lanes b) {
#if TC_LANES == 16
  // One instruction; what the builtin promises of NaN takes four.
  return (lanes)_mm512_max_ps((__m512)a, (__m512)b);
#else
  return __builtin_elementwise_max(a, b);
#endif
}

static inline float highest(lanes x) {
  float y[TC_LANES];
  memcpy(y, &x, sizeof y);
  for (int half = TC_LANES / 2; half; half /= 2)
    for (int i = 0; i < half; i++) y[i] = y[i + half] > y[i] ? y[i + half] : y[i];
  return y[0];
}

// Stores a vector of probabilities for the next product.
static inline void store_weights(void *row, size_t j, lanes x, int pairs) {
#if defined(TC_BF16_DOT)
  if (pairs) {
    *(__m256bh_u *)((uint16_t *)row + j) = _mm512_cvtneps_pbh((__m512)x);
    return;
  }
#endif
  *(lanes *)((float *)row + j) = x;
}

// What is known of a query's row: its highest score so far, times scale and log2(e), and the sum of 2^(score - highest).
typedef struct {
  float highest, sum;
} softmax_state;

// One row of scores becomes probabilities relative to the new maximum; sum and result so far follow. `scale`: times
// log2(e), and positive.
static inline void rescale(float *restrict scores, void *weights, float *restrict result, softmax_state *state,
                           size_t visible, size_t keys, size_t width, float scale, int pairs, int is_first) {
  // Hidden scores take the first one's place until the end, where they count nothing.
  size_t covered = (visible + TC_LANES - 1) / TC_LANES * TC_LANES;
  for (size_t j = visible; j < covered; j++) scores[j] = scores[0];
  lanes high = *(const lanes *)scores;
  for (size_t j = TC_LANES; j < covered; j += TC_LANES) high = larger(high, *(const lanes *)(scores + j));
  float top = highest(high) * scale;
  if (!is_first && state->highest > top) top = state->highest;
  lanes part = {};
  for (size_t j = 0; j < covered; j += TC_LANES) {
    lanes x = power_of_two_lanes(*(const lanes *)(scores + j) * scale - top);
    if (j + TC_LANES > visible)
      for (size_t i = visible - j; i < TC_LANES; i++) x[i] = 0;
    part += x;
    store_weights(weights, j, x, pairs);
  }
  for (size_t j = covered; j < keys; j += TC_LANES) store_weights(weights, j, (lanes){}, pairs);
  float sum = total(part);
  if (!is_first) {
    float factor = exponential((state->highest - top) * 0.693147181f);
    sum += state->sum * factor;
    if (factor != 1)
      for (size_t d = 0; d < width; d++) result[d] *= factor;
  }
  *state = (softmax_state){top, sum};
}

typedef struct {
  uint32_t *query, *probabilities;
  float *scores, *result;
} attention_memory;

static inline attention_memory attention_parts(const tc_attention *p, attention_shape s, int thread) {
  attention_memory m;
  m.query = (uint32_t *)((char *)p->scratch + (size_t)thread * p->scratch_size);
  m.scores = (float *)(m.query + tc_query_block * s.width);
  m.probabilities = (uint32_t *)(m.scores + tc_query_block * p->key_block);
  m.result = (float *)(m.probabilities + tc_query_block * p->key_block);
  return m;
}

// Keys of a block that the query at `position` may see.
static inline size_t visible_keys(const tc_attention *p, size_t position, size_t key, size_t count) {
  if (!p->causal) return count;
  if (position < key) return 0;
  return position + 1 - key < count ? position + 1 - key : count;
}

static inline void attend(const tc_attention *p, attention_shape s, attention_memory m, size_t head,
                          size_t first, size_t rows, softmax_state *states) {
  int pairs = in_pairs(p);
  float scale = p->scale * 1.44269504f;
  size_t block = p->key_block, keys = p->causal && first + rows < p->keys ? first + rows : p->keys;
  for (size_t key = 0; key < keys; key += block) {
    size_t count = p->keys - key < block ? p->keys - key : block;
    const uint32_t *packed = packed_keys(p, s, head, key / block);
    multiply(m.scores, block, m.query, s.depth, packed, block, rows, block, s.depth, pairs);
    uint32_t *weights = pairs ? m.probabilities : (uint32_t *)m.scores;
    for (size_t i = 0; i < rows; i++) {
      size_t visible = visible_keys(p, first + i, key, count);
      if (visible)
        rescale(m.scores + i * block, weights + i * s.key_depth, m.result + i * s.width, &states[i], visible, block,
                s.width, scale, pairs, key == 0);
      else
        memset(weights + i * s.key_depth, 0, s.key_depth * 4);
    }
    const uint32_t *values = packed + s.depth * block;
    if (key == 0)
      multiply(m.result, s.width, weights, s.key_depth, values, s.width, rows, s.width, s.key_depth, pairs);
    else
      multiply_add(m.result, s.width, weights, s.key_depth, values, s.width, rows, s.width, s.key_depth, pairs);
  }
}

static void attention_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_attention *p = parameters;
  attention_shape s = attention_sizes(p);
  attention_memory m = attention_parts(p, s, thread);
  size_t blocks = (p->queries + tc_query_block - 1) / tc_query_block;
  for (size_t item = begin; item < end; item++) {
    size_t head = item / blocks, first = item % blocks * tc_query_block;
    size_t rows = p->queries - first < tc_query_block ? p->queries - first : tc_query_block;
    size_t column = head * p->dimension;
    softmax_state states[tc_query_block];
    for (size_t i = 0; i < rows; i++)
      pack_row(m.query + i * s.depth, 1, at(p->q, (first + i) * p->q_stride + column, p->element), p, s.depth);
    attend(p, s, m, head, first, rows, states);
    for (size_t i = 0; i < rows; i++) {
      float *restrict result = m.result + i * s.width, factor = 1.0f / states[i].sum;
      for (size_t d = 0; d < p->dimension; d++) result[d] *= factor;
      store_floats(at_mutable(p->destination, (first + i) * p->destination_stride + column, p->element),
                   result, p->element, p->dimension);
    }
  }
}
