#include "CKernels.h"
#include <math.h>
#include <string.h>

#define STRIDED(type)                                                              \
  for (size_t i = 0; i < count; i++)                                               \
    ((type *)destination)[i * destination_step] = ((const type *)source)[i * source_step];

static void copy_row(char *destination, const char *source, size_t count, size_t destination_step,
                     size_t source_step, size_t size) {
  if (destination_step == 1 && source_step == 1) {
    memcpy(destination, source, count * size);
    return;
  }
  switch (size) {
  case 1: STRIDED(uint8_t) break;
  case 2: STRIDED(uint16_t) break;
  default: STRIDED(uint32_t) break;
  }
}

void tc_copy_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_copy *p = parameters;
  int last = p->dimensions - 1;
  for (size_t item = begin; item < end; item++) {
    size_t rest = item, from = 0, to = 0;
    for (int d = last - 1; d >= 0; d--) {
      size_t position = rest % p->shape[d];
      rest /= p->shape[d];
      from += position * p->source_strides[d];
      to += position * p->destination_strides[d];
    }
    copy_row((char *)p->destination + to * p->element_size, (const char *)p->source + from * p->element_size,
             p->shape[last], p->destination_strides[last], p->source_strides[last], p->element_size);
  }
}

void tc_upsample_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_upsample *p = parameters;
  size_t source_row = p->width * p->pixel_size, row = p->new_width * p->pixel_size;
  for (size_t y = begin; y < end; y++) {
    size_t from = y * p->height / p->new_height;
    char *destination = (char *)p->destination + y * row;
    if (y > begin && from == (y - 1) * p->height / p->new_height) {
      memcpy(destination, destination - row, row);
      continue;
    }
    const char *source = (const char *)p->source + from * source_row;
    for (size_t x = 0; x < p->new_width; x++)
      memcpy(destination + x * p->pixel_size, source + x * p->width / p->new_width * p->pixel_size,
             p->pixel_size);
  }
}

// Copies of a size the compiler knows are a few vector moves; others go through memcpy.
#define JOIN(size)                                                                          \
  for (size_t x = 0; x < 2 * p->width; x++, to += (size))                                   \
    memcpy(to, from + ((x + 1) / 2 * 4 + x % 2) * (size), (size));                          \
  break;

void tc_join_phases_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_join_phases *p = parameters;
  size_t size = p->pixel_size;
  for (size_t y = begin; y < end; y++) {
    char *to = (char *)p->destination + y * 2 * p->width * size;
    const char *from = (const char *)p->source + (y + 1) / 2 * (p->width + 1) * 4 * size + y % 2 * 2 * size;
    switch (size) {
    case 64: JOIN(64)
    case 96: JOIN(96)
    case 128: JOIN(128)
    case 192: JOIN(192)
    default: JOIN(size)
    }
  }
}

void tc_gather_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_gather *p = parameters;
  for (size_t i = begin; i < end; i++) {
    int64_t index = p->index[i];
    size_t row = index < 0 || (size_t)index >= p->table_rows ? 0 : (size_t)index;
    memcpy((char *)p->destination + i * p->row_size, (const char *)p->table + row * p->row_size, p->row_size);
  }
}

void tc_sinusoid_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_sinusoid *p = parameters;
  size_t half = p->dimension / 2;
  for (size_t i = begin; i < end; i++) {
    float *row = p->destination + i * p->dimension;
    for (size_t j = 0; j < half; j++) {
      float exponent = -logf(10000.0f) * (float)j / ((float)half - p->frequency_shift);
      float angle = p->t[i] * expf(exponent);
      row[p->flip_sin_to_cos ? half + j : j] = sinf(angle);
      row[p->flip_sin_to_cos ? j : half + j] = cosf(angle);
    }
    if (p->dimension % 2) row[p->dimension - 1] = 0;
  }
}
