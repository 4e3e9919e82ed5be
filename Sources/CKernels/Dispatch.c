#include "CKernels.h"
#include "Dispatch.h"

static const tc_table *chosen(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
      && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return __builtin_cpu_supports("avx512bf16") ? &tc_table_avx512_bf16 : &tc_table_avx512;
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

// Rows of scores that are whole vectors, long enough that the work per row hardly counts.
size_t tc_attention_key_block(size_t keys) { return keys < 256 ? (keys + 15) / 16 * 16 : 256; }

size_t tc_attention_blocks(const tc_attention *p) { return (p->keys + p->key_block - 1) / p->key_block; }

size_t tc_attention_pack_items(const tc_attention *p) { return p->heads * tc_attention_blocks(p); }

// Queries, scores, probabilities and results of a block, four bytes each (see Attention.h).
size_t tc_attention_scratch(const tc_attention *p) {
  size_t width = (p->dimension + 15) / 16 * 16;
  return (2 * width + 2 * p->key_block) * tc_query_block * 4;
}

// Keys and values of every head in blocks, a float each at most.
size_t tc_attention_packed_size(const tc_attention *p) {
  size_t width = (p->dimension + 15) / 16 * 16;
  return tc_attention_pack_items(p) * 2 * p->key_block * width * 4;
}
