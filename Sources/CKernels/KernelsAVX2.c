#if defined(__x86_64__)
#include "Dispatch.h"
#include <math.h>
#include <string.h>
#define TC_TABLE tc_table_avx2
#define TC_TABLE_NAME "AVX2"
#define TC_LANES 8
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "Kernels.h"
#pragma clang attribute pop
#endif
