// Attention of any head dimension, alignment and element. See tc_cuda_attention; slower than attention.cu by far, so
// for small models and for tests.
//
// Defines: ELEMENT (TC_F32, TC_F16, TC_BF16), of q, k, v and result.
// Grid: (queries, heads). Block: 128. Shared: 4 * (2 * head_dimension + 136) bytes.
#include "elements.cuh"
#include "reduce.cuh"

#define KEYS 128

KERNEL(attention_plain, tc_cuda_attention, KEYS) {
  await_previous();
  SHARED(memory);
  int size = p.head_dimension, t = threadIdx.x, query = blockIdx.x;
  float *q = (float *)memory, *sums = q + size, *weights = sums + size, *highs = weights + KEYS, *totals = highs + 4;
  long long head = (long long)blockIdx.y * size;
  const element_t *keys = (const element_t *)p.k + head, *values = (const element_t *)p.v + head;
  const element_t *own = (const element_t *)p.q + (long long)query * p.q_stride + head;
  for (int d = t; d < size; d += KEYS) {
    q[d] = to_float(own[d]);
    sums[d] = 0.0f;
  }
  sync_threads();

  int visible = p.causal ? min(query + 1, p.keys) : p.keys;
  float high = -1.0e30f, total = 0.0f;
  for (int first = 0; first < visible; first += KEYS) {
    float score = -1.0e30f;
    if (first + t < visible) {
      const element_t *key = keys + (long long)(first + t) * p.k_stride;
      float sum = 0.0f;
      for (int d = 0; d < size; d++) sum += q[d] * to_float(key[d]);
      score = sum * p.scale;
    }
    // What was summed up so far is relative to the highest score so far (Milakov and Gimelshein 2018).
    float highest = fmaxf(high, maximum_of_block(score, highs));
    float shrink = expf(high - highest), weight = first + t < visible ? expf(score - highest) : 0.0f;
    high = highest;
    weights[t] = weight;
    total = total * shrink + sum_of_block(weight, totals);  // its barrier publishes the weights too
    int count = min(KEYS, visible - first);
    for (int d = t; d < size; d += KEYS) {
      float sum = sums[d] * shrink;
      for (int s = 0; s < count; s++) sum += weights[s] * to_float(values[(long long)(first + s) * p.v_stride + d]);
      sums[d] = sum;
    }
    sync_threads();  // the weights have been read
  }
  element_t *result = (element_t *)p.result + (long long)query * p.result_stride + head;
  for (int d = t; d < size; d += KEYS) result[d] = from_float<element_t>(sums[d] / total);
}
