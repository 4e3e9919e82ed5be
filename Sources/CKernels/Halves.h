// Products with weights of 16 bits for processors that multiply f32 alone: a piece of the weights is unpacked at a time
// and stays in a core's own cache while it is used, so that memory holds, and gives, half of what it would. A
// convolution is summed tap by tap; a linear layer is one of a single tap over a picture one pixel wide.

enum {
  halves_rows = 6,
  halves_vectors = TC_LANES == 16 ? 4 : 2,
  halves_panel = 16,
  // Of the cache: bytes of one, and how many of a panel are fetched beside each tile.
  halves_line = 64,
  halves_lines = 4,
};

// to[rows][vectors · lanes] (+)= Σ from[row][channel] · weights[channel][...], weights in panels of 16 columns.
static inline __attribute__((always_inline)) void halves_tile(float *restrict to, const float *const *restrict from,
                                                              const float *restrict weights, size_t channels,
                                                              int rows, int vectors, int adds) {
  lanes sum[halves_rows][halves_vectors];
  const float *a[halves_rows];
  for (int i = 0; i < rows; i++) {
    a[i] = from[i];
    for (int j = 0; j < vectors; j++)
      sum[i][j] = adds ? *(const lanes *)(to + i * tc_halves_columns + j * TC_LANES) : (lanes){};
  }
  for (size_t c = 0; c < channels; c++) {
    lanes row[halves_vectors];
    for (int j = 0; j < vectors; j++) {
      size_t column = (size_t)j * TC_LANES;
      row[j] = *(const lanes *)(weights + (column / halves_panel * channels + c) * halves_panel + column % halves_panel);
    }
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < vectors; j++) sum[i][j] += a[i][c] * row[j];
  }
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < vectors; j++) *(lanes *)(to + i * tc_halves_columns + j * TC_LANES) = sum[i][j];
}

// Weights that are unpacked next, on their way from memory meanwhile.
typedef struct {
  const char *next;
  // Bytes from one panel to the next.
  size_t step;
} halves_ahead;

// A few lines of each of `panels`, those that belong to the tile at row `i`.
static inline __attribute__((always_inline)) void halves_fetch(halves_ahead ahead, size_t i, size_t panels) {
  for (size_t panel = 0; panel < panels; panel++)
    for (size_t l = 0; l < halves_lines; l++)
      __builtin_prefetch(ahead.next + panel * ahead.step + (i / halves_rows * halves_lines + l) * halves_line, 0, 2);
}

static inline __attribute__((always_inline)) void halves_column(float *restrict to, const float *const *restrict from,
                                                                const float *restrict weights, size_t channels,
                                                                size_t count, int vectors, int adds,
                                                                halves_ahead ahead) {
  size_t i = 0, panels = (size_t)vectors * TC_LANES / halves_panel;
  size_t end = channels * halves_panel * 2 / halves_line / halves_lines * halves_rows;
  for (; i + halves_rows <= count; i += halves_rows) {
    if (i < end) halves_fetch(ahead, i, panels ? panels : 1);
    halves_tile(to + i * tc_halves_columns, from + i, weights, channels, halves_rows, vectors, adds);
  }
  for (; i + 2 <= count; i += 2)
    halves_tile(to + i * tc_halves_columns, from + i, weights, channels, 2, vectors, adds);
  for (; i < count; i++)
    halves_tile(to + i * tc_halves_columns, from + i, weights, channels, 1, vectors, adds);
}

// `panels` of columns, for `count` rows.
static inline __attribute__((always_inline)) void halves_multiply(float *to, const float *const *from,
                                                                  const float *weights, size_t channels, size_t count,
                                                                  size_t panels, int adds, halves_ahead ahead) {
#if TC_LANES == 16
  switch (panels) {
  case 4: halves_column(to, from, weights, channels, count, 4, adds, ahead); break;
  case 3: halves_column(to, from, weights, channels, count, 3, adds, ahead); break;
  case 2: halves_column(to, from, weights, channels, count, 2, adds, ahead); break;
  default: halves_column(to, from, weights, channels, count, 1, adds, ahead); break;
  }
#else
  size_t wide = halves_vectors * TC_LANES;
  for (size_t column = 0; column < panels * halves_panel; column += wide) {
    halves_ahead own = {ahead.next + column / halves_panel * ahead.step, ahead.step};
    halves_column(to + column, from,
                  weights + column / halves_panel * channels * halves_panel + column % halves_panel, channels, count,
                  halves_vectors, adds, own);
  }
#endif
}

// Where each of `count` results from `first` on reads its inputs for a tap, from `channel` on: zeros outside.
static void halves_rows_of(const tc_halves *p, const float **from, size_t first, size_t count, size_t tap,
                           size_t channel) {
  static const float zeros[tc_halves_channels];
  size_t r = tap / p->kernel_width, s = tap % p->kernel_width;
  size_t row = first / p->result_width, column = first % p->result_width;
  for (size_t i = 0; i < count; i++) {
    // What lies above or left of the picture has wrapped around and is larger than any size.
    size_t y = row * p->stride + r - p->top, x = column * p->stride + s - p->left;
    from[i] = y < p->height && x < p->width ? p->source + (y * p->width + x) * p->source_stride + channel : zeros;
    if (++column == p->result_width) column = 0, row++;
  }
}

static void halves_store(const tc_halves *p, const float *sums, size_t first, size_t count, size_t column,
                         size_t columns) {
  for (size_t i = 0; i < count; i++) {
    const float *residual = p->residual ? p->residual + (first + i) * p->residual_stride + column : 0;
    float *to = p->destination + (first + i) * p->destination_stride + column;
    for (size_t j = 0; j < columns; j += TC_LANES) {
      lanes x = *(const lanes *)(sums + i * tc_halves_columns + j);
      if (p->bias) x += *(const lanes *)(p->bias + column + j);
      if (residual) x += *(const lanes *)(residual + j);
      *(lanes *)(to + j) = activated(x, p->activation);
    }
  }
}

static void halves_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_halves *p = parameters;
  char *scratch = (char *)p->scratch + (size_t)thread * tc_halves_scratch(p);
  float *unpacked = (float *)scratch, *sums = unpacked + tc_halves_columns * tc_halves_channels;
  const float **from = (const float **)(sums + tc_halves_columns * p->block);
  size_t rows = p->result_height * p->result_width, blocks = (rows + p->block - 1) / p->block;
  size_t taps = p->kernel_height * p->kernel_width;
  for (size_t item = begin; item < end; item++) {
    size_t column = item / blocks * tc_halves_columns, first = item % blocks * p->block;
    size_t columns = p->outputs - column < tc_halves_columns ? p->outputs - column : tc_halves_columns;
    size_t count = rows - first < p->block ? rows - first : p->block;
    for (size_t tap = 0; tap < taps; tap++)
      for (size_t channel = 0; channel < p->channels; channel += tc_halves_channels) {
        size_t rest = p->channels - channel, channels = rest < tc_halves_channels ? rest : tc_halves_channels;
        for (size_t panel = 0; panel < columns / halves_panel; panel++) {
          size_t place = (column / halves_panel + panel) * taps + tap;
          load_floats(unpacked + panel * channels * halves_panel,
                      at(p->weights, (place * p->channels + channel) * halves_panel, p->element), p->element,
                      channels * halves_panel);
        }
        // The next piece of a panel follows this one, over the end of a tap too.
        size_t after = (column / halves_panel * taps + tap) * p->channels + channel + channels;
        halves_ahead ahead = {at(p->weights, after * halves_panel, p->element), taps * p->channels * halves_panel * 2};
        halves_rows_of(p, from, first, count, tap, channel);
        if (tap == 0 && channel == 0)
          halves_multiply(sums, from, unpacked, channels, count, columns / halves_panel, 0, ahead);
        else
          halves_multiply(sums, from, unpacked, channels, count, columns / halves_panel, 1, ahead);
      }
    halves_store(p, sums, first, count, column, columns);
  }
}

static void halves_pack_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_halves_pack *p = parameters;
  float x[halves_panel][tc_halves_channels], y[tc_halves_channels * halves_panel];
  for (size_t item = begin; item < end; item++) {
    size_t panel = item / p->taps, tap = item % p->taps;
    for (size_t channel = 0; channel < p->channels; channel += tc_halves_channels) {
      size_t rest = p->channels - channel, channels = rest < tc_halves_channels ? rest : tc_halves_channels;
      for (size_t k = 0; k < halves_panel; k++)
        load_floats(x[k],
                    at(p->source, ((panel * halves_panel + k) * p->taps + tap) * p->channels + channel, p->source_element),
                    p->source_element, channels);
      for (size_t c = 0; c < channels; c++)
        for (size_t k = 0; k < halves_panel; k++) y[c * halves_panel + k] = x[k][c];
      store_floats(at_mutable(p->destination, (item * p->channels + channel) * halves_panel, p->element), y,
                   p->element, channels * halves_panel);
    }
  }
}
