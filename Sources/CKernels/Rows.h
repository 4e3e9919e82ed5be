// Elementwise kernels over rows, a chunk that stays in the first-level cache at a time.

// Position and length of an item that is a chunk of a row.
typedef struct {
  size_t row, column, count;
} piece;

static inline piece piece_of(size_t item, size_t columns) {
  size_t chunks = (columns + tc_chunk - 1) / tc_chunk;
  size_t row = item / chunks, column = item % chunks * tc_chunk;
  size_t rest = columns - column;
  return (piece){row, column, rest < tc_chunk ? rest : tc_chunk};
}

static void map_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_map *p = parameters;
  float x[tc_chunk];
  for (size_t item = begin; item < end; item++) {
    piece w = piece_of(item, p->columns);
    load_floats(x, at(p->source, w.row * p->source_stride + w.column, p->source_element), p->source_element,
                w.count);
    apply_function(x, w.count, p->function, p->a, p->b);
    store_floats(at_mutable(p->destination, w.row * p->destination_stride + w.column, p->destination_element),
                 x, p->destination_element, w.count);
  }
}

#define EACH(operator) \
  for (size_t i = 0; i < n; i++) x[i] = x[i] operator y[i]; \
  break;

static inline void apply_operator(float *restrict x, const float *restrict y, size_t n, tc_operator operator) {
  switch (operator) {
  case tc_add: EACH(+)
  case tc_subtract: EACH(-)
  case tc_multiply: EACH(*)
  case tc_divide: EACH(/)
  }
}
#undef EACH

static void binary_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_binary *p = parameters;
  float x[tc_chunk], y[tc_chunk];
  for (size_t item = begin; item < end; item++) {
    piece w = piece_of(item, p->columns);
    size_t offset = 0, rest = w.row;
    for (int d = p->outer_count - 1; d >= 0; d--) {
      offset += rest % p->outer[d] * p->b_strides[d];
      rest /= p->outer[d];
    }
    load_floats(x, at(p->a, w.row * p->a_stride + w.column, p->element), p->element, w.count);
    if (p->b_step) {
      load_floats(y, at(p->b, offset + w.column, p->element), p->element, w.count);
    } else {
      float value;
      load_floats(&value, at(p->b, offset, p->element), p->element, 1);
      for (size_t i = 0; i < w.count; i++) y[i] = value;
    }
    apply_operator(x, y, w.count, p->operator_);
    store_floats(at_mutable(p->destination, w.row * p->destination_stride + w.column, p->element), x,
                 p->element, w.count);
  }
}

static void geglu_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_geglu *p = parameters;
  float x[tc_chunk], gate[tc_chunk];
  for (size_t item = begin; item < end; item++) {
    piece w = piece_of(item, p->columns);
    size_t from = w.row * p->source_stride + w.column;
    load_floats(x, at(p->source, from, p->element), p->element, w.count);
    load_floats(gate, at(p->source, from + p->columns, p->element), p->element, w.count);
    gelu_all(gate, x, w.count);
    store_or_quantize(p->destination, w.row * p->destination_stride + w.column, gate, p->element,
                      p->quantum ? p->quantum + w.column : 0, w.count);
  }
}

static void quantize_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_quantization *p = parameters;
  float x[tc_chunk];
  for (size_t item = begin; item < end; item++) {
    piece w = piece_of(item, p->columns);
    load_floats(x, at(p->source, w.row * p->source_stride + w.column, p->element), p->element, w.count);
    store_or_quantize(p->destination, w.row * p->destination_stride + w.column, x, p->element,
                      p->factors + w.column, w.count);
  }
}

static void peaks_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_peaks *p = parameters;
  float x[tc_chunk];
  for (size_t item = begin; item < end; item++) {
    size_t column = item * tc_chunk, rest = p->columns - column, n = rest < tc_chunk ? rest : tc_chunk;
    float *restrict most = p->destination + column;
    memset(most, 0, n * sizeof *most);
    for (size_t row = 0; row < p->rows; row++) {
      load_floats(x, at(p->source, row * p->source_stride + column, p->element), p->element, n);
      for (size_t i = 0; i < n; i++) most[i] = fabsf(x[i]) > most[i] ? fabsf(x[i]) : most[i];
    }
  }
}
