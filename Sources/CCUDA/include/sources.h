#pragma once
#include <stddef.h>

// A kernel's source or header, embedded by the compiler.
struct tc_cuda_source {
  const char *name;
  const char *text;  // not terminated
  size_t size;
};
extern const struct tc_cuda_source *const tc_cuda_sources;
extern const int tc_cuda_source_count;
// The modules that the backend may load, one a line: source, least architecture, defines. Lines from # on are remarks.
extern const struct tc_cuda_source tc_cuda_variants;
