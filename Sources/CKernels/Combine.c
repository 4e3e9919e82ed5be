#include "CKernels.h"
#include <math.h>

static float first_value(const tc_group_norm *p, size_t channel) {
  if (p->element == tc_f32) return ((const float *)p->source)[channel];
  if (p->element == tc_f16) return (float)((const _Float16 *)p->source)[channel];
  union {
    uint32_t bits;
    float value;
  } x = {(uint32_t)((const uint16_t *)p->source)[channel] << 16};
  return x.value;
}

enum { TOGETHER = 64 };  // channels whose sums of all blocks are made at a time, along memory

// The sums, and the sums of squares, of channels from `first` on.
static void add_blocks(const tc_group_norm *p, size_t first, double *sums, double *squares) {
  size_t rest = p->channels - first, count = rest < TOGETHER ? rest : TOGETHER;
  for (size_t i = 0; i < count; i++) sums[i] = squares[i] = 0;
  for (size_t block = 0; block < p->blocks; block++) {
    const float *partial = p->partial + block * 2 * p->channels + first;
    for (size_t i = 0; i < count; i++) sums[i] += partial[i];
    for (size_t i = 0; i < count; i++) squares[i] += partial[p->channels + i];
  }
}

// Chan, Golub and LeVeque's formula joins the channels of a group: exact where their means differ.
void tc_group_combine(const tc_group_norm *p) {
  size_t width = p->channels / p->groups;
  double rows = (double)p->rows, count = 0, mean = 0, squares = 0;
  double channel_sums[TOGETHER], channel_square_sums[TOGETHER];
  for (size_t c = 0; c < p->channels; c++) {
    if (c % TOGETHER == 0) add_blocks(p, c, channel_sums, channel_square_sums);
    if (c % width == 0) count = mean = squares = 0;
    double sum = channel_sums[c % TOGETHER], square = channel_square_sums[c % TOGETHER];
    double channel_mean = first_value(p, c) + sum / rows, channel_squares = square - sum * sum / rows;
    double difference = channel_mean - mean, total = count + rows;
    squares += channel_squares + difference * difference * count * rows / total;
    mean += difference * rows / total;
    count = total;
    if ((c + 1) % width) continue;
    double factor = 1 / sqrt((squares > 0 ? squares : 0) / count + p->epsilon);
    for (size_t k = c + 1 - width; k <= c; k++) {
      p->channel[k] = (float)(factor * p->gain[k]);
      p->channel[p->channels + k] = (float)(p->shift[k] - mean * factor * p->gain[k]);
    }
  }
}
