#if defined(__x86_64__)
#include "Dispatch.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>
#define TC_TABLE tc_table_avx512
#define TC_TABLE_NAME "AVX-512"
#define TC_LANES 16
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#include "Kernels.h"
#pragma clang attribute pop
#endif
