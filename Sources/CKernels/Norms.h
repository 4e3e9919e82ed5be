// Group and layer normalisation.

// Sums and sums of squares of each channel over a block of rows. Differences from the first row are
// summed instead of the values, so that a large mean costs no digits.
static void group_statistics_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_group_norm *p = parameters;
  float x[tc_chunk], first[tc_chunk];
  for (size_t block = begin; block < end; block++) {
    size_t row = p->rows * block / p->blocks, last = p->rows * (block + 1) / p->blocks;
    for (size_t column = 0; column < p->channels; column += tc_chunk) {
      size_t n = p->channels - column < tc_chunk ? p->channels - column : tc_chunk;
      float *restrict sum = p->partial + block * 2 * p->channels + column;
      float *restrict square = sum + p->channels;
      memset(sum, 0, n * sizeof *sum);
      memset(square, 0, n * sizeof *square);
      load_floats(first, at(p->source, column, p->element), p->element, n);
      for (size_t r = row; r < last; r++) {
        load_floats(x, at(p->source, r * p->source_stride + column, p->element), p->element, n);
        for (size_t i = 0; i < n; i++) {
          float d = x[i] - first[i];
          sum[i] += d;
          square[i] += d * d;
        }
      }
    }
  }
}

static void group_apply_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_group_norm *p = parameters;
  float x[tc_chunk];
  for (size_t row = begin; row < end; row++)
    for (size_t column = 0; column < p->channels; column += tc_chunk) {
      size_t n = p->channels - column < tc_chunk ? p->channels - column : tc_chunk;
      const float *restrict factor = p->channel + column, *restrict offset = factor + p->channels;
      load_floats(x, at(p->source, row * p->source_stride + column, p->element), p->element, n);
      for (size_t i = 0; i < n; i++) x[i] = x[i] * factor[i] + offset[i];
      apply_function(x, n, p->activation, 0, 0);
      store_floats(at_mutable(p->destination, row * p->destination_stride + column, p->element), x,
                   p->element, n);
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
      store_floats(at_mutable(p->destination, row * p->destination_stride + column, p->element), x,
                   p->element, n);
    }
  }
}
