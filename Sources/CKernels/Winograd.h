// 3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2015, arXiv 1509.09308, section 4): a tile
// of 4x4 results takes 36 products for each pair of channels where 144 are plain. The 6x6 inputs d of a tile and its
// results Y are
//
//     Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A
//
// with weights transformed beforehand; ⊙, summed over channels, is 36 matrix products over many tiles. All in f32: the
// transforms add numbers of different size, which 16 bits would not survive.

enum { winograd_rows = 6, winograd_vectors = TC_LANES == 16 ? 4 : 2 };

// Bᵀ of six numbers.
static inline __attribute__((always_inline)) void winograd_input(const lanes *d, lanes *to) {
  lanes a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
  to[0] = 4 * d[0] - 5 * d[2] + d[4];
  to[1] = a + b;
  to[2] = a - b;
  to[3] = c + e;
  to[4] = c - e;
  to[5] = 4 * d[1] - 5 * d[3] + d[5];
}

// Aᵀ of six numbers, four.
static inline __attribute__((always_inline)) void winograd_output(const lanes *m, lanes *to) {
  lanes a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  to[0] = m[0] + a + c;
  to[1] = b + 2 * d;
  to[2] = a + 4 * c;
  to[3] = b + 8 * d + m[5];
}

// Bᵀ of six numbers that are two of each of the middle ones, [p, q, q, r, r, s]: what a doubled picture has. The third is
// zero, and so are a third of the 36 matrices, which nobody computes or reads.
static inline __attribute__((always_inline)) void winograd_doubled_input(const lanes *d, lanes *to) {
  lanes c = d[2] - d[1];
  to[0] = 4 * d[0] - 5 * d[1] + d[2];
  to[1] = 2 * (d[2] - 4 * d[1]);
  to[3] = 3 * c;
  to[4] = -c;
  to[5] = 4 * d[1] - 5 * d[2] + d[3];
}

// Whether one of the 36 matrices is zero.
static inline int winograd_is_zero(const tc_winograd *p, size_t f) { return p->doubles && (f / 6 == 2 || f % 6 == 2); }

// Floats from one of the 36 matrices to the next.
static inline size_t winograd_matrix(size_t rows, size_t columns) { return rows * columns + tc_winograd_gap; }

// Inputs of a tile whose first is at `top`, `left`, transformed, to row `row` of the 36 matrices at `v`. What lies above
// or left of the picture has wrapped around and is larger than any size. Of a picture that is doubled four by four are
// read.
static inline __attribute__((always_inline)) void winograd_in(const tc_winograd *p, float *v, size_t row, size_t top,
                                                              size_t left, int inside, int doubles,
                                                              tc_element element) {
  size_t side = doubles ? 4 : 6;
  size_t matrix = winograd_matrix(p->block, p->channels), most = p->filters ? tc_winograd_channels : p->channels;
  for (size_t first = 0; first < p->channels; first += most) {
    size_t width = p->channels - first < most ? p->channels - first : most;
    for (size_t c = 0; c < width; c += TC_LANES) {
      lanes t[6][6];
#pragma unroll
      for (size_t j = 0; j < side; j++) {
        lanes d[6], column[6] = {};
        size_t x = left + j;
#pragma unroll
        for (size_t i = 0; i < side; i++) {
          size_t y = top + i;
          d[i] = inside || (y < p->height && x < p->width)
                     ? load_lanes(at(p->source, (y * p->width + x) * p->channels + first + c, element), element)
                     : (lanes){};
        }
        if (doubles)
          winograd_doubled_input(d, column);
        else
          winograd_input(d, column);
#pragma unroll
        for (size_t i = 0; i < 6; i++) t[i][j] = column[i];
      }
      float *to = v + first * p->block + row * width + c;
#pragma unroll
      for (size_t i = 0; i < 6; i++) {
        if (doubles && i == 2) continue;
        lanes d[6];
        if (doubles)
          winograd_doubled_input(t[i], d);
        else
          winograd_input(t[i], d);
#pragma unroll
        for (size_t j = 0; j < 6; j++)
          if (!doubles || j != 2) *(lanes *)(to + (i * 6 + j) * matrix) = d[j];
      }
    }
  }
}

// Where results lie: 36 matrices of rows of `columns`, which begin at output `first`.
typedef struct {
  const float *sums;
  size_t matrix, first, columns;
} winograd_results;

// Results of the tile whose first is at `top`, `left`, from row `row`.
static inline __attribute__((always_inline)) void winograd_out(const tc_winograd *p, winograd_results m, size_t row,
                                                               size_t top, size_t left, int inside, int doubles,
                                                               tc_element element) {
  for (size_t k = m.first; k < m.first + m.columns; k += TC_LANES) {
    lanes t[4][6], bias = p->bias ? *(const lanes *)(p->bias + k) : (lanes){};
    const float *from = m.sums + row * m.columns + k - m.first;
#pragma unroll
    for (size_t j = 0; j < 6; j++) {
      lanes d[6], column[4];
      int empty = doubles && j == 2;
#pragma unroll
      for (size_t i = 0; i < 6; i++)
        d[i] = empty || (doubles && i == 2) ? (lanes){} : *(const lanes *)(from + (i * 6 + j) * m.matrix);
      winograd_output(d, column);
#pragma unroll
      for (size_t i = 0; i < 4; i++) t[i][j] = column[i];
    }
#pragma unroll
    for (size_t i = 0; i < 4; i++) {
      lanes y[4];
      winograd_output(t[i], y);
      for (size_t j = 0; j < 4; j++) {
        if (!inside && (top + i >= p->result_height || left + j >= p->result_width)) continue;
        size_t pixel = (top + i) * p->result_width + left + j;
        lanes x = y[j] + bias;
        if (p->residual) x += load_lanes(at(p->residual, pixel * p->residual_stride + k, element), element);
        x = activated(x, p->activation);
        store_floats(at_mutable(p->destination, pixel * p->destination_stride + k, element), (const float *)&x,
                     element, TC_LANES);
      }
    }
  }
}

// One of the 36 products: to[rows][columns] (+)= from[rows][depth] · weights, which are panels of 16 columns, `depth` rows
// each.
typedef struct {
  float *to;
  const float *from, *weights;
  size_t rows, columns, depth;
  // Rows of the next product, which are fetched meanwhile, or nil.
  const float *ahead;
} winograd_product;

static inline __attribute__((always_inline)) void winograd_column(const winograd_product *x, size_t k, int vectors,
                                                                  int adds) {
  size_t i = 0, columns = x->columns, depth = x->depth;
  const uint32_t *weights = (const uint32_t *)x->weights + k / 16 * 16 * depth + k % 16;
  const uint32_t *from = (const uint32_t *)x->from;
  float *to = x->to + k;
  for (; i + winograd_rows <= x->rows; i += winograd_rows) {
    if (x->ahead && k == 0)
      for (size_t n = 0; n < winograd_rows * depth; n += 16) __builtin_prefetch(x->ahead + i * depth + n, 0, 2);
    tile_dense(to + i * columns, columns, from + i * depth, depth, weights, 16, 16 * depth, depth, winograd_rows,
               vectors, 0, adds);
  }
  for (; i + 4 <= x->rows; i += 4)
    tile_dense(to + i * columns, columns, from + i * depth, depth, weights, 16, 16 * depth, depth, 4, vectors, 0,
               adds);
  for (; i < x->rows; i++)
    tile_dense(to + i * columns, columns, from + i * depth, depth, weights, 16, 16 * depth, depth, 1, vectors, 0,
               adds);
}

static inline __attribute__((always_inline)) void winograd_multiply_as(const winograd_product *x, int adds) {
  size_t k = 0, wide = winograd_vectors * TC_LANES;
  for (; k + wide <= x->columns; k += wide) winograd_column(x, k, winograd_vectors, adds);
#if TC_LANES == 16
  switch ((x->columns - k) / 16) {
  case 3: winograd_column(x, k, 3, adds); break;
  case 2: winograd_column(x, k, 2, adds); break;
  case 1: winograd_column(x, k, 1, adds); break;
  default: break;
  }
#endif
}

static void winograd_multiply(const winograd_product *x) { winograd_multiply_as(x, 0); }
static void winograd_multiply_add(const winograd_product *x) { winograd_multiply_as(x, 1); }

static inline __attribute__((always_inline)) void winograd_in_tile(const tc_winograd *p, float *v, size_t row,
                                                                   size_t tile, tc_element element) {
  size_t step = p->doubles ? 2 : 4, side = p->doubles ? 4 : 6;
  size_t top = tile / p->tiles_across * step - p->top, left = tile % p->tiles_across * step - p->left;
  int inside = top < p->height && top + side <= p->height && left < p->width && left + side <= p->width;
  switch (2 * p->doubles + inside) {
  case 0: winograd_in(p, v, row, top, left, 0, 0, element); break;
  case 1: winograd_in(p, v, row, top, left, 1, 0, element); break;
  case 2: winograd_in(p, v, row, top, left, 0, 1, element); break;
  default: winograd_in(p, v, row, top, left, 1, 1, element);
  }
}

static inline __attribute__((always_inline)) void winograd_out_tile(const tc_winograd *p, winograd_results m,
                                                                    size_t row, size_t tile, tc_element element) {
  size_t top = tile / p->tiles_across * 4, left = tile % p->tiles_across * 4;
  int inside = top + 4 <= p->result_height && left + 4 <= p->result_width;
  switch (2 * p->doubles + inside) {
  case 0: winograd_out(p, m, row, top, left, 0, 0, element); break;
  case 1: winograd_out(p, m, row, top, left, 1, 0, element); break;
  case 2: winograd_out(p, m, row, top, left, 0, 1, element); break;
  default: winograd_out(p, m, row, top, left, 1, 1, element);
  }
}

// Rows `begin`...`end` of a block that begins at tile `first`.
static void winograd_in_all(const tc_winograd *p, float *v, size_t first, size_t begin, size_t end) {
  for (size_t row = begin; row < end; row++)
    if (p->element == tc_bf16)
      winograd_in_tile(p, v, row, first + row, tc_bf16);
    else
      winograd_in_tile(p, v, row, first + row, tc_f32);
}

// The first `count` rows of results, the first of which is of tile `first`.
static void winograd_out_all(const tc_winograd *p, winograd_results m, size_t first, size_t count) {
  for (size_t row = 0; row < count; row++)
    if (p->element == tc_bf16)
      winograd_out_tile(p, m, row, first + row, tc_bf16);
    else
      winograd_out_tile(p, m, row, first + row, tc_f32);
}

// G of three numbers that are `step` apart.
static inline __attribute__((always_inline)) void winograd_filter(const float *g, float *to, size_t step) {
  float a = g[0] + g[2 * step], b = g[0] + 4 * g[2 * step];
  to[0] = g[0] / 4;
  to[1] = -(a + g[step]) / 6;
  to[2] = -(a - g[step]) / 6;
  to[3] = (b + 2 * g[step]) / 24;
  to[4] = (b - 2 * g[step]) / 24;
  to[5] = g[2 * step];
}

static void winograd_filters_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_winograd_filters *p = parameters;
  // Matrix, channel, output: the last two as they lie in the result.
  float t[36][16][16];
  for (size_t item = begin; item < end; item++) {
    size_t panel = item / (p->channels / 16), channel = item % (p->channels / 16) * 16;
    for (size_t k = 0; k < 16; k++) {
      float taps[9][16];
      for (size_t i = 0; i < 9; i++)
        load_floats(taps[i], at(p->source, ((panel * 16 + k) * 9 + i) * p->channels + channel, p->element),
                    p->element, 16);
      for (size_t c = 0; c < 16; c++) {
        // Down the columns of the filter, then along the rows.
        float half[3][6];
        for (size_t j = 0; j < 3; j++) winograd_filter(&taps[j][c], half[j], 3 * 16);
        for (size_t i = 0; i < 6; i++) {
          float row[3] = {half[0][i], half[1][i], half[2][i]}, result[6];
          winograd_filter(row, result, 1);
          for (size_t j = 0; j < 6; j++) t[i * 6 + j][c][k] = result[j];
        }
      }
    }
    for (size_t f = 0; f < 36; f++)
      memcpy(p->destination + ((f * (p->outputs / 16) + panel) * p->channels + channel) * 16, t[f], sizeof t[f]);
  }
}

// Blocks of tiles whose matrices a core's own cache keeps, all of the work on each by one thread.
static void winograd_block_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_winograd *p = parameters;
  size_t matrix = winograd_matrix(p->block, p->channels);
  float *v = p->scratch + (size_t)thread * tc_winograd_scratch(p), *sums = v + 36 * matrix;
  winograd_results m = {sums, winograd_matrix(p->block, p->outputs), 0, p->outputs};
  for (size_t block = begin; block < end; block++) {
    size_t first = block * p->block, rest = p->tiles - first;
    size_t count = rest < p->block ? rest : p->block;
    winograd_in_all(p, v, first, 0, count);
    for (size_t f = 0; f < 36; f++)
      if (!winograd_is_zero(p, f))
        winograd_multiply(&(winograd_product){
            .to = sums + f * m.matrix,
            .from = v + f * matrix,
            .weights = p->weights + f * p->outputs * p->channels,
            .rows = count,
            .columns = p->outputs,
            .depth = p->channels,
        });
    winograd_out_all(p, m, first, count);
  }
}
