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
  // Sixteen at a time, sixteen pairs of numbers of each.
  if (in_pairs(p) && s.depth % 16 == 0 && p->dimension % 2 == 0)
    for (; j + 16 <= count; j += 16)
      for (size_t d = 0; d < s.depth; d += 16) {
        units row[16];
        for (size_t i = 0; i < 16; i++)
          row[i] = *(const units *)at(p->k, (first + j + i) * p->k_stride + column + 2 * d, p->element);
        transpose(row);
        for (size_t i = 0; i < 16; i++) *(units *)(to + (d + i) * p->key_block + j) = row[i];
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
#if TC_LANES == 16
  return _mm512_reduce_max_ps((__m512)x);
#else
  float y[TC_LANES];
  memcpy(y, &x, sizeof y);
  for (int half = TC_LANES / 2; half; half /= 2)
    for (int i = 0; i < half; i++) y[i] = y[i + half] > y[i] ? y[i + half] : y[i];
  return y[0];
#endif
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

// What is known of each query of a block: its highest score so far, times scale and log2(e), and the sum of
// 2^(score - highest).
typedef struct {
  float highest[tc_query_block], sum[tc_query_block];
} softmax_state;

// The highest score of a row that meets new ones; sum and result so far follow. `scale`: times log2(e), and positive.
static inline void raise_highest(softmax_state *state, size_t row, float *restrict scores, size_t visible,
                                 float *restrict result, size_t width, float scale, int is_first) {
  // Hidden scores take the first one's place until the end, where they count nothing.
  size_t covered = (visible + TC_LANES - 1) / TC_LANES * TC_LANES;
  for (size_t j = visible; j < covered; j++) scores[j] = scores[0];
  lanes high = *(const lanes *)scores;
  for (size_t j = TC_LANES; j < covered; j += TC_LANES) high = larger(high, *(const lanes *)(scores + j));
  float top = highest(high) * scale, before = state->highest[row];
  if (is_first) {
    state->highest[row] = top;
    state->sum[row] = 0;
    return;
  }
  if (before >= top) return;
  float factor = exponential((before - top) * 0.693147181f);
  state->highest[row] = top;
  state->sum[row] *= factor;
  for (size_t d = 0; d < width; d++) result[d] *= factor;
}

// The first `count` of a vector, and zeros.
static inline lanes first_of(lanes x, size_t count) {
  ints index;
  for (int i = 0; i < TC_LANES; i++) index[i] = i;
  return (lanes)((ints)x & (index < (int)count));
}

// One row of scores becomes probabilities relative to the highest.
static inline __attribute__((always_inline)) void weigh(softmax_state *state, size_t row, const float *scores,
                                                        void *weights, size_t visible, size_t keys, float scale,
                                                        int pairs) {
  size_t covered = (visible + TC_LANES - 1) / TC_LANES * TC_LANES;
  float top = state->highest[row];
  lanes part = {};
  for (size_t j = 0; j < covered; j += TC_LANES) {
    lanes x = *(const lanes *)(scores + j) * scale - top;
    x = pairs ? rough_power_of_two_lanes(x) : power_of_two_lanes(x);
    if (j + TC_LANES > visible) x = first_of(x, visible - j);
    part += x;
    store_weights(weights, j, x, pairs);
  }
  for (size_t j = covered; j < keys; j += TC_LANES) store_weights(weights, j, (lanes){}, pairs);
  state->sum[row] += total(part);
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

// Scores of a block of keys become probabilities. Rows wait for nothing but their own highest score, so all of them are
// found first.
static inline __attribute__((always_inline)) void soften(const tc_attention *p, attention_shape s, attention_memory m,
                                                         softmax_state *state, size_t first, size_t rows, size_t key,
                                                         size_t count, uint32_t *weights, int pairs) {
  float scale = p->scale * 1.44269504f;
  for (size_t i = 0; i < rows; i++) {
    size_t visible = visible_keys(p, first + i, key, count);
    if (visible)
      raise_highest(state, i, m.scores + i * p->key_block, visible, m.result + i * s.width, s.width, scale, key == 0);
  }
  for (size_t i = 0; i < rows; i++) {
    size_t visible = visible_keys(p, first + i, key, count);
    uint32_t *row = weights + i * s.key_depth;
    if (visible)
      weigh(state, i, m.scores + i * p->key_block, row, visible, p->key_block, scale, pairs);
    else
      memset(row, 0, s.key_depth * 4);
  }
}

static inline void attend(const tc_attention *p, attention_shape s, attention_memory m, size_t head, size_t first,
                          size_t rows, softmax_state *state) {
  int pairs = in_pairs(p);
  size_t block = p->key_block, keys = p->causal && first + rows < p->keys ? first + rows : p->keys;
  for (size_t key = 0; key < keys; key += block) {
    size_t count = p->keys - key < block ? p->keys - key : block;
    const uint32_t *packed = packed_keys(p, s, head, key / block);
    multiply(m.scores, block, m.query, s.depth, packed, block, rows, block, s.depth, pairs);
    // Floats become probabilities where they lie.
    uint32_t *weights = pairs ? m.probabilities : (uint32_t *)m.scores;
    if (pairs)
      soften(p, s, m, state, first, rows, key, count, weights, 1);
    else
      soften(p, s, m, state, first, rows, key, count, weights, 0);
    const uint32_t *values = packed + s.depth * block;
    if (key == 0)
      multiply(m.result, s.width, weights, s.key_depth, values, s.width, rows, s.width, s.key_depth, pairs);
    else
      multiply_add(m.result, s.width, weights, s.key_depth, values, s.width, rows, s.width, s.key_depth, pairs);
  }
}

static inline void pack_query(const tc_attention *p, attention_shape s, uint32_t *restrict to, size_t query,
                              size_t column) {
  const void *row = at(p->q, query * p->q_stride + column, p->element);
  if (in_pairs(p) && p->dimension % 2 == 0)
    memcpy(to, row, s.depth * 4);
  else
    pack_row(to, 1, row, p, s.depth);
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
    softmax_state state;
    for (size_t i = 0; i < rows; i++) pack_query(p, s, m.query + i * s.depth, first + i, column);
    attend(p, s, m, head, first, rows, &state);
    for (size_t i = 0; i < rows; i++) {
      float *restrict result = m.result + i * s.width, factor = 1.0f / state.sum[i];
      for (size_t d = 0; d < p->dimension; d++) result[d] *= factor;
      store_floats(at_mutable(p->destination, (first + i) * p->destination_stride + column, p->element),
                   result, p->element, p->dimension);
    }
  }
}
