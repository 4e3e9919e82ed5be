#pragma once
#include "CKernels.h"

/// The bodies compiled for one instruction set.
typedef struct {
  const char *name;
  tc_body bodies[tc_kernel_count];
} tc_table;

extern const tc_table tc_table_baseline;
#if defined(__x86_64__)
extern const tc_table tc_table_avx2, tc_table_avx512, tc_table_avx512_bf16;
#endif
