// Winograd's convolutions with weights that lie in memory as they are, a quarter of what they become: a thread transforms
// the filters of a few outputs and channels in its own cache, uses them on many tiles, and forgets them. Two of the six
// lines of matrices are worked on at a time, so that filters and results leave the cache room.

static inline __attribute__((always_inline)) lanes load_stored(const void *p, tc_element element) {
  if (element == tc_f16) {
    typedef _Float16 halves __attribute__((vector_size(TC_LANES * 2), aligned(2)));
    return __builtin_convertvector(*(const halves *)p, lanes);
  }
  return load_lanes(p, element);
}

// G of three numbers.
static inline __attribute__((always_inline)) void winograd_filter_lanes(const lanes *g, lanes *to) {
  lanes a = (g[0] + g[2]) * (-1.0f / 6), b = (g[0] + 4 * g[2]) * (1.0f / 24);
  lanes c = g[1] * (-1.0f / 6), d = g[1] * (2.0f / 24);
  to[0] = g[0] * 0.25f;
  to[1] = a + c;
  to[2] = a - c;
  to[3] = b + d;
  to[4] = b - d;
  to[5] = g[2];
}

// Part of the outputs, of the channels and of the lines of matrices, with their transformed filters.
typedef struct {
  float *weights;
  size_t output, columns, channel, depth, line;
} winograd_piece;

enum { winograd_taps = 9 };

static inline const char *winograd_filters_of(const tc_winograd *p, size_t output, size_t tap, size_t channel) {
  return at(p->filters, ((output / 16 * winograd_taps + tap) * p->channels + channel) * 16, p->stored);
}

static inline __attribute__((always_inline)) void winograd_transform_as(const tc_winograd *p, winograd_piece w,
                                                                        size_t line, tc_element stored) {
  size_t matrix = winograd_matrix(tc_winograd_channels, tc_winograd_columns);
  for (size_t k = 0; k < w.columns; k += TC_LANES) {
    const char *taps[winograd_taps];
    for (size_t i = 0; i < winograd_taps; i++)
      taps[i] = winograd_filters_of(p, w.output + k, i, w.channel) + k % 16 * element_size(stored);
    for (size_t c = 0; c < w.depth; c++) {
      lanes half[tc_winograd_lines][3];
#pragma unroll
      for (size_t j = 0; j < 3; j++) {
        lanes g[3], column[6];
#pragma unroll
        for (size_t i = 0; i < 3; i++) g[i] = load_stored(taps[i * 3 + j] + c * 16 * element_size(stored), stored);
        winograd_filter_lanes(g, column);
#pragma unroll
        for (size_t i = 0; i < tc_winograd_lines; i++) half[i][j] = column[line + i];
      }
      float *to = w.weights + (k / 16 * w.depth + c) * 16 + k % 16;
#pragma unroll
      for (size_t i = 0; i < tc_winograd_lines; i++) {
        lanes row[6];
        winograd_filter_lanes(half[i], row);
#pragma unroll
        for (size_t j = 0; j < 6; j++) *(lanes *)(to + (i * 6 + j) * matrix) = row[j];
      }
    }
  }
}

static inline __attribute__((always_inline)) void winograd_transform_line(const tc_winograd *p, winograd_piece w,
                                                                          tc_element stored) {
  switch (w.line) {
  case 0: winograd_transform_as(p, w, 0, stored); break;
  case 2: winograd_transform_as(p, w, 2, stored); break;
  default: winograd_transform_as(p, w, 4, stored); break;
  }
}

static void winograd_transform(const tc_winograd *p, winograd_piece w) {
  switch (p->stored) {
  case tc_f16: winograd_transform_line(p, w, tc_f16); break;
  case tc_bf16: winograd_transform_line(p, w, tc_bf16); break;
  default: winograd_transform_line(p, w, tc_f32); break;
  }
}

// Of the filters that come next, a part for each of the matrices.
static inline void winograd_fetch(const tc_winograd *p, winograd_piece w, size_t f) {
  size_t channel = w.channel + w.depth;
  if (channel >= p->channels) return;
  size_t bytes = w.depth * 16 * element_size(p->stored), parts = w.columns / 16 * winograd_taps;
  for (size_t part = f; part < parts; part += tc_winograd_lines * 6) {
    const char *filters = winograd_filters_of(p, w.output + part / winograd_taps * 16, part % winograd_taps, channel);
    for (size_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(filters + byte, 0, 2);
  }
}

// The products of a piece with `rows` inputs, into 36 matrices of sums.
static inline void winograd_piece_products(const tc_winograd *p, winograd_piece w, size_t tile, size_t rows,
                                           float *sums) {
  size_t from = winograd_matrix(p->block, p->channels), to = winograd_matrix(tc_winograd_tiles, tc_winograd_columns);
  size_t transformed = winograd_matrix(tc_winograd_channels, tc_winograd_columns), first = w.line * 6;
  const float *inputs = p->inputs + first * from + w.channel * p->block + tile * w.depth;
  for (size_t f = 0; f < tc_winograd_lines * 6; f++) {
    if (winograd_is_zero(p, first + f)) continue;
    winograd_product x = {sums + (first + f) * to, inputs + f * from, w.weights + f * transformed, rows, w.columns,
                          w.depth};
    if (first + f + 1 < 36) x.ahead = x.from + from;
    winograd_fetch(p, w, f);
    if (w.channel)
      winograd_multiply_add(&x);
    else
      winograd_multiply(&x);
  }
}

// Items are pairs of `columns` outputs and of `piece` tiles, tiles innermost, of the block that begins at `first`.
static void winograd_pieces_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_winograd *p = parameters;
  float *weights = p->scratch + (size_t)thread * tc_winograd_piece_scratch();
  float *sums = weights + tc_winograd_lines * 6 * winograd_matrix(tc_winograd_channels, tc_winograd_columns);
  size_t count = tc_winograd_count(p), groups = (count + p->piece - 1) / p->piece;
  for (size_t item = begin; item < end; item++) {
    size_t tile = item % groups * p->piece, rows = count - tile < p->piece ? count - tile : p->piece;
    winograd_piece w = {.weights = weights, .output = item / groups * p->columns};
    w.columns = p->outputs - w.output < p->columns ? p->outputs - w.output : p->columns;
    for (w.line = 0; w.line < 6; w.line += tc_winograd_lines)
      for (w.channel = 0; w.channel < p->channels; w.channel += w.depth) {
        size_t rest = p->channels - w.channel;
        w.depth = rest < tc_winograd_channels ? rest : tc_winograd_channels;
        winograd_transform(p, w);
        winograd_piece_products(p, w, tile, rows, sums);
      }
    size_t matrix = winograd_matrix(tc_winograd_tiles, tc_winograd_columns);
    winograd_out_all(p, (winograd_results){sums, matrix, w.output, w.columns}, p->first + tile, rows);
  }
}

// Inputs of tiles `begin`...`end` of the block.
static void winograd_in_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_winograd *p = parameters;
  winograd_in_all(p, p->inputs, p->first, begin, end);
}
