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

// Chan, Golub and LeVeque's formula joins the channels of a group: exact where their means differ.
void tc_group_combine(const tc_group_norm *p) {
  size_t width = p->channels / p->groups;
  double rows = (double)p->rows;
  for (size_t group = 0; group < p->groups; group++) {
    double count = 0, mean = 0, squares = 0;
    for (size_t c = group * width; c < (group + 1) * width; c++) {
      double sum = 0, square = 0;
      for (size_t block = 0; block < p->blocks; block++) {
        sum += p->partial[block * 2 * p->channels + c];
        square += p->partial[(block * 2 + 1) * p->channels + c];
      }
      double channel_mean = first_value(p, c) + sum / rows, channel_squares = square - sum * sum / rows;
      double difference = channel_mean - mean, total = count + rows;
      squares += channel_squares + difference * difference * count * rows / total;
      mean += difference * rows / total;
      count = total;
    }
    double factor = 1 / sqrt((squares > 0 ? squares : 0) / count + p->epsilon);
    for (size_t c = group * width; c < (group + 1) * width; c++) {
      p->channel[c] = (float)(factor * p->gain[c]);
      p->channel[p->channels + c] = (float)(p->shift[c] - mean * factor * p->gain[c]);
    }
  }
}
