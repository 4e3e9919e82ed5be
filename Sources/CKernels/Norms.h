// Group and layer normalisation.

// Sums and sums of squares of each channel over a block of rows. Differences from the first row are
// summed instead of the values, so that a large mean costs no digits.
static void group_statistics_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_group_norm *p = parameters;
  float x[4][tc_chunk], first[tc_chunk];
  for (size_t block = begin; block < end; block++) {
    size_t row = p->rows * block / p->blocks, last = p->rows * (block + 1) / p->blocks;
    for (size_t column = 0; column < p->channels; column += tc_chunk) {
      size_t n = p->channels - column < tc_chunk ? p->channels - column : tc_chunk;
      float *restrict sum = p->partial + block * 2 * p->channels + column;
      float *restrict square = sum + p->channels;
      memset(sum, 0, n * sizeof *sum);
      memset(square, 0, n * sizeof *square);
      load_floats(first, at(p->source, column, p->element), p->element, n);
      size_t r = row;
      for (; r + 4 <= last; r += 4) {
        for (size_t k = 0; k < 4; k++)
          load_floats(x[k], at(p->source, (r + k) * p->source_stride + column, p->element), p->element, n);
        for (size_t i = 0; i < n; i++) {
          float a = x[0][i] - first[i], b = x[1][i] - first[i], c = x[2][i] - first[i], d = x[3][i] - first[i];
          sum[i] += (a + b) + (c + d);
          square[i] += (a * a + b * b) + (c * c + d * d);
        }
      }
      for (; r < last; r++) {
        load_floats(x[0], at(p->source, r * p->source_stride + column, p->element), p->element, n);
        for (size_t i = 0; i < n; i++) {
          float d = x[0][i] - first[i];
          sum[i] += d;
          square[i] += d * d;
        }
      }
    }
  }
}

// x·factor + offset of each channel, and the activation, over `n` elements that lie together.
static inline void apply_channels(const tc_group_norm *p, size_t from, size_t to, const float *restrict factor,
                                  const float *restrict offset, const float *restrict quantum, size_t n) {
  float x[tc_chunk];
  load_floats(x, at(p->source, from, p->element), p->element, n);
  for (size_t i = 0; i < n; i++) x[i] = x[i] * factor[i] + offset[i];
  apply_function(x, n, p->activation, 0, 0);
  store_or_quantize(p->destination, to, x, p->element, quantum, n);
}

static void group_apply_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_group_norm *p = parameters;
  size_t channels = p->channels, row = begin;
  if (p->source_stride == channels && p->destination_stride == channels && channels <= tc_chunk / 2) {
    // Several narrow rows at once: loops are long, and their ends rare.
    float factor[tc_chunk], offset[tc_chunk], quantum[tc_chunk];
    size_t rows = tc_chunk / channels;
    for (size_t k = 0; k < rows; k++) {
      memcpy(factor + k * channels, p->channel, channels * sizeof(float));
      memcpy(offset + k * channels, p->channel + channels, channels * sizeof(float));
      if (p->quantum) memcpy(quantum + k * channels, p->quantum, channels * sizeof(float));
    }
    for (; row < end; row += rows) {
      size_t count = end - row < rows ? end - row : rows;
      apply_channels(p, row * channels, row * channels, factor, offset, p->quantum ? quantum : 0, count * channels);
    }
  }
  for (; row < end; row++)
    for (size_t column = 0; column < channels; column += tc_chunk) {
      size_t n = channels - column < tc_chunk ? channels - column : tc_chunk;
      apply_channels(p, row * p->source_stride + column, row * p->destination_stride + column,
                     p->channel + column, p->channel + channels + column,
                     p->quantum ? p->quantum + column : 0, n);
    }
}

static inline float sum_floats(const float *restrict x, size_t n) {
  float lanes[16] = {0};
  size_t whole = n / 16 * 16;
  for (size_t i = 0; i < whole; i += 16)
    for (size_t j = 0; j < 16; j++) lanes[j] += x[i + j];
  for (size_t i = whole; i < n; i++) lanes[i - whole] += x[i];
  float total = 0;
  for (size_t j = 0; j < 16; j++) total += lanes[j];
  return total;
}

static inline float sum_squares(const float *restrict x, size_t n, float mean) {
  float lanes[16] = {0};
  size_t whole = n / 16 * 16;
  for (size_t i = 0; i < whole; i += 16)
    for (size_t j = 0; j < 16; j++) lanes[j] += (x[i + j] - mean) * (x[i + j] - mean);
  for (size_t i = whole; i < n; i++) lanes[i - whole] += (x[i] - mean) * (x[i] - mean);
  float total = 0;
  for (size_t j = 0; j < 16; j++) total += lanes[j];
  return total;
}

static void layer_norm_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_layer_norm *p = parameters;
  float x[tc_chunk];
  for (size_t row = begin; row < end; row++) {
    const void *source = at(p->source, row * p->source_stride, p->element);
    // Three passes over a row that the cache keeps: mean, variance, result.
    float sum = 0, squares = 0;
    for (size_t column = 0; column < p->columns; column += tc_chunk) {
      size_t n = p->columns - column < tc_chunk ? p->columns - column : tc_chunk;
      load_floats(x, at(source, column, p->element), p->element, n);
      sum += sum_floats(x, n);
    }
    float mean = sum / (float)p->columns;
    for (size_t column = 0; column < p->columns; column += tc_chunk) {
      size_t n = p->columns - column < tc_chunk ? p->columns - column : tc_chunk;
      if (p->columns > tc_chunk) load_floats(x, at(source, column, p->element), p->element, n);
      squares += sum_squares(x, n, mean);
    }
    float factor = 1.0f / sqrtf(squares / (float)p->columns + p->epsilon);
    for (size_t column = 0; column < p->columns; column += tc_chunk) {
      size_t n = p->columns - column < tc_chunk ? p->columns - column : tc_chunk;
      if (p->columns > tc_chunk) load_floats(x, at(source, column, p->element), p->element, n);
      const float *restrict gain = p->gain + column, *restrict shift = p->shift + column;
      for (size_t i = 0; i < n; i++) x[i] = (x[i] - mean) * factor * gain[i] + shift[i];
      store_or_quantize(p->destination, row * p->destination_stride + column, x, p->element,
                        p->quantum ? p->quantum + column : 0, n);
    }
  }
}
