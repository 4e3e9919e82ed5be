#define _GNU_SOURCE
#include "CKernels.h"
#include "Dispatch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#if defined(__x86_64__)
// What ONEDNN_MAX_CPU_ISA (or its older name) allows: oneDNN's own limit holds for our kernels too, so that
// every variant can be tested on one machine. What neither knows limits neither. 0 baseline, 1 AVX2, 2 AVX-512, 3 with
// bf16.
static int limit(void) {
  const char *isa = getenv("ONEDNN_MAX_CPU_ISA");
  if (!isa) isa = getenv("DNNL_MAX_CPU_ISA");
  static const struct {
    const char *name;
    int most;
  } limits[] = {{"SSE41", 0},     {"AVX", 0},         {"AVX2", 1},
                {"AVX2_VNNI", 1}, {"AVX512_CORE", 2}, {"AVX512_CORE_VNNI", 2}};
  for (size_t i = 0; isa && i < sizeof limits / sizeof *limits; i++)
    if (strcasecmp(isa, limits[i].name) == 0) return limits[i].most;
  return 3;
}

static const tc_table *choose(void) {
  int most = limit();
  __builtin_cpu_init();
  if (most >= 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
      && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return most == 3 && __builtin_cpu_supports("avx512bf16") ? &tc_table_avx512_bf16 : &tc_table_avx512;
  if (most >= 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
      && __builtin_cpu_supports("f16c"))
    return &tc_table_avx2;
  return &tc_table_baseline;
}
#else
static const tc_table *choose(void) { return &tc_table_baseline; }
#endif

static const tc_table *chosen_table;
static void note_choice(void) { chosen_table = choose(); }

static const tc_table *chosen(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, note_choice);
  return chosen_table;
}

tc_body tc_kernel(tc_kernel_name name) { return chosen()->bodies[name]; }
const char *tc_instruction_set(void) { return chosen()->name; }

int tc_multiplies_pairs(void) {
#if defined(__x86_64__)
  return chosen() == &tc_table_avx512_bf16;
#else
  return 0;
#endif
}

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

// Unpacked weights, sums, and where each row's inputs are; whole lines of the cache.
size_t tc_panels_scratch(const tc_panels *p) {
  size_t floats = tc_panels_columns * (tc_panels_units + p->block);
  return (floats * sizeof(float) + p->block * sizeof(uint32_t *) + 63) / 64 * 64;
}

size_t tc_panels_items(const tc_panels *p) {
  size_t blocks = (p->result_height * p->result_width + p->block - 1) / p->block;
  return (p->outputs + tc_panels_columns - 1) / tc_panels_columns * blocks;
}

// Inputs and results of 36 matrices.
size_t tc_winograd_scratch(const tc_winograd *p) {
  return 36 * (p->block * (p->channels + p->outputs) + 2 * tc_winograd_gap);
}

// Transformed filters and results.
size_t tc_winograd_piece_scratch(void) {
  return tc_winograd_lines * 6 * (tc_winograd_columns * tc_winograd_channels + tc_winograd_gap)
         + 36 * (tc_winograd_columns * tc_winograd_tiles + tc_winograd_gap);
}

size_t tc_winograd_inputs(const tc_winograd *p) { return 36 * (p->block * p->channels + tc_winograd_gap); }

size_t tc_winograd_count(const tc_winograd *p) {
  size_t rest = p->tiles - p->first;
  return rest < p->block ? rest : p->block;
}

size_t tc_winograd_pieces(const tc_winograd *p) {
  return (tc_winograd_count(p) + p->piece - 1) / p->piece * ((p->outputs + p->columns - 1) / p->columns);
}
