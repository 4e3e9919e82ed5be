// Matrix products with weights in panels of 16 columns, for what oneDNN does not do well: f32 by weights that stay in 16
// bits in memory, unpacked a piece at a time, and bf16 by weights that come from memory for every frame, fetched while
// the piece before them is multiplied. A convolution is summed tap by tap; a linear layer is one of a single tap over a
// picture one pixel wide.
//
// Operands are made of units of four bytes (Tile.h): a float, or a pair of bf16.

enum {
  panel_rows = 6,
  panel_vectors = TC_LANES == 16 ? 4 : 2,
  panel_columns = 16,
  // Of the cache, in bytes.
  panel_line = 64,
  // Of floats: 16 columns four times take 24 KB, which the fastest cache keeps for all rows. Pairs, twice as many numbers
  // in as many bytes, were no faster for it.
  panel_floats = 96,
};

// What a thread works on: a piece of the weights, units of all taps' channels.
typedef struct {
  const uint32_t *weights;
  // Units from one panel to the next.
  size_t step;
  size_t units;
  // The piece after it, a few lines of which are fetched beside each tile.
  const char *ahead;
  size_t ahead_step, ahead_bytes, ahead_lines;
  // Whether sums become results after it.
  int is_last;
} panel_piece;

// Results that a thread works on.
typedef struct {
  size_t row, rows, column, columns;
} panel_block;

// Lines of the next piece that belong to the tile at row `i`.
static inline __attribute__((always_inline)) void panel_fetch(const panel_piece *w, size_t i, size_t first,
                                                              size_t panels) {
  size_t begin = i / panel_rows * w->ahead_lines * panel_line, end = begin + w->ahead_lines * panel_line;
  if (end > w->ahead_bytes) end = w->ahead_bytes;
  for (size_t panel = first; panel < first + panels; panel++)
    for (size_t byte = begin; byte < end; byte += panel_line)
      __builtin_prefetch(w->ahead + panel * w->ahead_step + byte, 0, 2);
}

// The residual of a tile's rows, and where their results go: other cores wrote there last.
static inline void panel_fetch_results(const tc_panels *p, panel_block b, size_t i) {
  size_t halved = p->gated ? 2 : 1, column = b.column / halved;
  size_t bytes = b.columns / halved * element_size(p->element);
  for (size_t row = b.row + i; row < b.row + i + panel_rows; row++) {
    const char *result = at(p->destination, row * p->destination_stride + column, p->element);
    for (size_t byte = 0; byte < bytes; byte += panel_line) __builtin_prefetch(result + byte, 1, 2);
    if (!p->residual) continue;
    const char *residual = at(p->residual, row * p->residual_stride + column, p->element);
    for (size_t byte = 0; byte < bytes; byte += panel_line) __builtin_prefetch(residual + byte, 0, 2);
  }
}

// Columns of the block from `column` on.
static inline __attribute__((always_inline)) void panel_column(const tc_panels *p, float *restrict to,
                                                               const uint32_t *const *restrict from,
                                                               const panel_piece *w, panel_block b, size_t column,
                                                               int vectors, int pairs, int adds) {
  size_t i = 0, panel = column / panel_columns, panels = (size_t)vectors * TC_LANES / panel_columns;
  const uint32_t *weights = w->weights + panel * w->step + column % panel_columns;
  to += column;
  for (; i + panel_rows <= b.rows; i += panel_rows) {
    if (column % panel_columns == 0) panel_fetch(w, i, panel, panels ? panels : 1);
    if (column == 0 && w->is_last) panel_fetch_results(p, b, i);
    tile(to + i * tc_panels_columns, tc_panels_columns, from + i, weights, panel_columns, w->step, w->units,
         panel_rows, vectors, pairs, adds);
  }
  for (; i + 2 <= b.rows; i += 2)
    tile(to + i * tc_panels_columns, tc_panels_columns, from + i, weights, panel_columns, w->step, w->units, 2, vectors,
         pairs, adds);
  for (; i < b.rows; i++)
    tile(to + i * tc_panels_columns, tc_panels_columns, from + i, weights, panel_columns, w->step, w->units, 1, vectors,
         pairs, adds);
}

static inline __attribute__((always_inline)) void panel_multiply_as(const tc_panels *p, float *to,
                                                                    const uint32_t *const *from, const panel_piece *w,
                                                                    panel_block b, int pairs, int adds) {
  size_t wide = panel_vectors * TC_LANES, column = 0;
  for (; column + wide <= b.columns; column += wide)
    panel_column(p, to, from, w, b, column, panel_vectors, pairs, adds);
#if TC_LANES == 16
  switch ((b.columns - column) / 16) {
  case 3: panel_column(p, to, from, w, b, column, 3, pairs, adds); break;
  case 2: panel_column(p, to, from, w, b, column, 2, pairs, adds); break;
  case 1: panel_column(p, to, from, w, b, column, 1, pairs, adds); break;
  default: break;
  }
#endif
}

static void panel_multiply(const tc_panels *p, float *to, const uint32_t *const *from, const panel_piece *w,
                           panel_block b, int adds) {
  if (p->pairs)
    panel_multiply_as(p, to, from, w, b, 1, adds);
  else
    panel_multiply_as(p, to, from, w, b, 0, adds);
}

// Where each result of the block reads its inputs for a tap, from `unit` on: zeros outside.
static void panel_inputs(const tc_panels *p, const uint32_t **from, panel_block b, size_t tap, size_t unit) {
  static const uint32_t zeros[tc_panels_units];
  size_t r = tap / p->kernel_width, s = tap % p->kernel_width;
  size_t row = b.row / p->result_width, column = b.row % p->result_width;
  for (size_t i = 0; i < b.rows; i++) {
    // What lies above or left of the picture has wrapped around and is larger than any size.
    size_t y = row * p->stride + r - p->top, x = column * p->stride + s - p->left;
    from[i] = y < p->height && x < p->width
                  ? (const uint32_t *)at(p->source, (y * p->width + x) * p->source_stride, p->element) + unit
                  : zeros;
    if (++column == p->result_width) column = 0, row++;
  }
}

// Every second number of two vectors.
#if TC_LANES == 16
#define EVENS 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODDS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif TC_LANES == 8
#define EVENS 0, 2, 4, 6, 8, 10, 12, 14
#define ODDS 1, 3, 5, 7, 9, 11, 13, 15
#else
#define EVENS 0, 2, 4, 6
#define ODDS 1, 3, 5, 7
#endif

// Results of one row of the block: bias and what follows it. Values and gates lie in turns.
static inline __attribute__((always_inline)) void panel_gate(const tc_panels *p, const float *sums, size_t row,
                                                             panel_block b, tc_element element) {
  for (size_t j = 0; j < b.columns; j += 2 * TC_LANES) {
    lanes x = *(const lanes *)(sums + j), y = *(const lanes *)(sums + j + TC_LANES);
    if (p->bias) {
      x += *(const lanes *)(p->bias + b.column + j);
      y += *(const lanes *)(p->bias + b.column + j + TC_LANES);
    }
    lanes z = __builtin_shufflevector(x, y, EVENS) * gelu_lanes(__builtin_shufflevector(x, y, ODDS));
    store_floats(at_mutable(p->destination, row * p->destination_stride + (b.column + j) / 2, element),
                 (const float *)&z, element, TC_LANES);
  }
}
#undef EVENS
#undef ODDS

static inline __attribute__((always_inline)) void panel_store(const tc_panels *p, const float *sums, size_t row,
                                                              panel_block b, tc_element element) {
  for (size_t j = 0; j < b.columns; j += TC_LANES) {
    size_t column = b.column + j;
    lanes x = *(const lanes *)(sums + j);
    if (p->bias) x += *(const lanes *)(p->bias + column);
    if (p->residual) x += load_lanes(at(p->residual, row * p->residual_stride + column, element), element);
    x = activated(x, p->activation);
    store_floats(at_mutable(p->destination, row * p->destination_stride + column, element), (const float *)&x, element,
                 TC_LANES);
  }
}

static inline __attribute__((always_inline)) void panel_results(const tc_panels *p, const float *sums, panel_block b,
                                                                tc_element element) {
  for (size_t i = 0; i < b.rows; i++)
    if (p->gated)
      panel_gate(p, sums + i * tc_panels_columns, b.row + i, b, element);
    else
      panel_store(p, sums + i * tc_panels_columns, b.row + i, b, element);
}

// Units of each piece of a tap's but the last: pieces are as equal as can be, for each costs a pass over the sums.
static inline size_t panel_units(const tc_panels *p) {
  size_t all = p->pairs ? p->channels / 2 : p->channels, most = p->pairs ? tc_panels_units : panel_floats;
  size_t pieces = (all + most - 1) / most;
  return (all + pieces - 1) / pieces;
}

// Weights of a tap from `unit` on, for the columns of the block: as they lie, or unpacked.
static inline panel_piece panel_weights(const tc_panels *p, float *unpacked, panel_block b, size_t tap, size_t unit) {
  size_t taps = p->kernel_height * p->kernel_width, all = p->pairs ? p->channels / 2 : p->channels;
  size_t rest = all - unit, most = panel_units(p), size = p->pairs ? 4 : 2, length = taps * all * panel_columns;
  const char *group = (const char *)p->weights + b.column / panel_columns * length * size;
  panel_piece w = {.units = rest < most ? rest : most};
  const char *begin = group + (tap * all + unit) * panel_columns * size;
  w.is_last = tap + 1 == taps && unit + w.units == all;
  // The piece after it, over the end of a tap too; after the last the next group's first.
  w.ahead = w.is_last ? group + tc_panels_columns / panel_columns * length * size
                      : begin + w.units * panel_columns * size;
  w.ahead_step = length * size;
  w.ahead_bytes = most * panel_columns * size;
  // So many for each tile that 32 of them, or all there are, fetch a piece.
  size_t tiles = b.rows / panel_rows < 32 ? b.rows / panel_rows : 32;
  w.ahead_lines = tiles ? (w.ahead_bytes / panel_line + tiles - 1) / tiles : 0;
  if (p->pairs) {
    w.weights = (const uint32_t *)begin;
    w.step = length;
    return w;
  }
  w.step = w.units * panel_columns;
  for (size_t panel = 0; panel < b.columns / panel_columns; panel++)
    load_floats(unpacked + panel * w.step, begin + panel * length * size, p->stored, w.step);
  w.weights = (const uint32_t *)unpacked;
  return w;
}

static void panels_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_panels *p = parameters;
  char *scratch = (char *)p->scratch + (size_t)thread * tc_panels_scratch(p);
  float *unpacked = (float *)scratch, *sums = unpacked + tc_panels_columns * tc_panels_units;
  const uint32_t **from = (const uint32_t **)(sums + tc_panels_columns * p->block);
  size_t rows = p->result_height * p->result_width, blocks = (rows + p->block - 1) / p->block;
  size_t taps = p->kernel_height * p->kernel_width, units = p->pairs ? p->channels / 2 : p->channels;
  for (size_t item = begin; item < end; item++) {
    panel_block b = {.row = item % blocks * p->block, .column = item / blocks * tc_panels_columns};
    b.columns = p->outputs - b.column < tc_panels_columns ? p->outputs - b.column : tc_panels_columns;
    b.rows = rows - b.row < p->block ? rows - b.row : p->block;
    for (size_t tap = 0; tap < taps; tap++)
      for (size_t unit = 0; unit < units; unit += panel_units(p)) {
        panel_piece w = panel_weights(p, unpacked, b, tap, unit);
        panel_inputs(p, from, b, tap, unit);
        panel_multiply(p, sums, from, &w, b, tap > 0 || unit > 0);
      }
    if (p->element == tc_bf16)
      panel_results(p, sums, b, tc_bf16);
    else
      panel_results(p, sums, b, tc_f32);
  }
}

static void panels_pack_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_panels_pack *p = parameters;
  enum { most = 256 };
  float x[panel_columns][most], y[most * panel_columns];
  size_t together = p->pairs ? 2 : 1;
  for (size_t item = begin; item < end; item++) {
    size_t panel = item / p->taps, tap = item % p->taps;
    for (size_t channel = 0; channel < p->channels; channel += most) {
      size_t rest = p->channels - channel, channels = rest < most ? rest : most;
      for (size_t k = 0; k < panel_columns; k++)
        load_floats(x[k],
                    at(p->source, ((panel * panel_columns + k) * p->taps + tap) * p->channels + channel,
                       p->source_element),
                    p->source_element, channels);
      for (size_t c = 0; c < channels; c++)
        for (size_t k = 0; k < panel_columns; k++)
          y[c / together * panel_columns * together + k * together + c % together] = x[k][c];
      store_floats(at_mutable(p->destination, (item * p->channels + channel) * panel_columns, p->element), y,
                   p->element, channels * panel_columns);
    }
  }
}
