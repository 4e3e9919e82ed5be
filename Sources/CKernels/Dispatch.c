#include "CKernels.h"
#include "Dispatch.h"

static const tc_table *chosen(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
      && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return &tc_table_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &tc_table_avx2;
#endif
  return &tc_table_baseline;
}

tc_body tc_kernel(tc_kernel_name name) { return chosen()->bodies[name]; }
const char *tc_instruction_set(void) { return chosen()->name; }

size_t tc_chunks(size_t columns) { return (columns + tc_chunk - 1) / tc_chunk; }

size_t tc_group_scratch(size_t blocks, size_t channels) { return (blocks + 1) * 2 * channels; }

size_t tc_attention_items(const tc_attention *p) {
  return p->heads * ((p->queries + tc_query_block - 1) / tc_query_block);
}

// Queries, keys, values, scores and results of one block, in f32 (see Attention.h).
size_t tc_attention_scratch(size_t dimension) {
  size_t padded = (dimension + 15) / 16 * 16;
  size_t floats = (2 * (size_t)tc_query_block + 2 * 64) * padded + tc_query_block * 64;
  return (floats * sizeof(float) + 63) / 64 * 64;
}
