// What we use of cublasLt.h, 11 to 13: types of functions, to be cast to what dlsym gives. Descriptors are made by the
// library, for their sizes changed between versions; all numbers here and the sizes of results did not.
//
// Matrices are counted by columns there: a matrix of ours, rows one after the other, is its transpose.
#pragma once
#include <stddef.h>
#include "driver.h"

typedef struct tc_cublasLt_st *tc_cublasLtHandle;
typedef struct tc_cublasLtMatmulDesc_st *tc_cublasLtMatmulDesc;
typedef struct tc_cublasLtMatrixLayout_st *tc_cublasLtMatrixLayout;
typedef struct tc_cublasLtMatmulPreference_st *tc_cublasLtMatmulPreference;
typedef struct { unsigned long long data[8]; } tc_cublasLtMatmulAlgo;
typedef struct {
  tc_cublasLtMatmulAlgo algorithm;
  size_t workspace;  // bytes
  int state;         // 0: it can be used
  float waves;
  int reserved[4];
} tc_cublasLtMatmulHeuristicResult;

#define TC_CUBLASLT(name, ...) typedef int (*tc_##name)(__VA_ARGS__)
TC_CUBLASLT(cublasLtCreate, tc_cublasLtHandle *handle);
TC_CUBLASLT(cublasLtDestroy, tc_cublasLtHandle handle);
TC_CUBLASLT(cublasLtMatmulDescCreate, tc_cublasLtMatmulDesc *descriptor, int compute_type, int scale_type);
TC_CUBLASLT(cublasLtMatmulDescDestroy, tc_cublasLtMatmulDesc descriptor);
TC_CUBLASLT(cublasLtMatmulDescSetAttribute, tc_cublasLtMatmulDesc descriptor, int attribute, const void *value,
            size_t bytes);
TC_CUBLASLT(cublasLtMatrixLayoutCreate, tc_cublasLtMatrixLayout *layout, int type, unsigned long long rows,
            unsigned long long columns, long long leading);
TC_CUBLASLT(cublasLtMatrixLayoutDestroy, tc_cublasLtMatrixLayout layout);
TC_CUBLASLT(cublasLtMatmulPreferenceCreate, tc_cublasLtMatmulPreference *preference);
TC_CUBLASLT(cublasLtMatmulPreferenceDestroy, tc_cublasLtMatmulPreference preference);
TC_CUBLASLT(cublasLtMatmulPreferenceSetAttribute, tc_cublasLtMatmulPreference preference, int attribute,
            const void *value, size_t bytes);
TC_CUBLASLT(cublasLtMatmulAlgoGetHeuristic, tc_cublasLtHandle handle, tc_cublasLtMatmulDesc descriptor,
            tc_cublasLtMatrixLayout a, tc_cublasLtMatrixLayout b, tc_cublasLtMatrixLayout c,
            tc_cublasLtMatrixLayout d, tc_cublasLtMatmulPreference preference, int wanted,
            tc_cublasLtMatmulHeuristicResult *results, int *count);
// d = alpha a b + beta c, and what the descriptor's epilogue says.
TC_CUBLASLT(cublasLtMatmul, tc_cublasLtHandle handle, tc_cublasLtMatmulDesc descriptor, const void *alpha,
            tc_CUdeviceptr a, tc_cublasLtMatrixLayout a_layout, tc_CUdeviceptr b, tc_cublasLtMatrixLayout b_layout,
            const void *beta, tc_CUdeviceptr c, tc_cublasLtMatrixLayout c_layout, tc_CUdeviceptr d,
            tc_cublasLtMatrixLayout d_layout, const tc_cublasLtMatmulAlgo *algorithm, tc_CUdeviceptr workspace,
            size_t workspace_bytes, tc_CUstream stream);
#undef TC_CUBLASLT
typedef size_t (*tc_cublasLtGetVersion)(void);

// cublasComputeType_t, cudaDataType_t, cublasOperation_t, cublasLtEpilogue_t
#define TC_CUBLAS_COMPUTE_32F 68
#define TC_CUDA_R_32F 0
#define TC_CUDA_R_16F 2
#define TC_CUDA_R_16BF 14
#define TC_CUBLAS_OP_T 1
#define TC_CUBLASLT_EPILOGUE_BIAS 4
// cublasLtMatmulDescAttributes_t
#define TC_CUBLASLT_TRANSA 3
#define TC_CUBLASLT_EPILOGUE 7
#define TC_CUBLASLT_BIAS_POINTER 8
// cublasLtMatmulPreferenceAttributes_t: a's alignment is followed by those of b, c and d.
#define TC_CUBLASLT_WORKSPACE_BYTES 1
#define TC_CUBLASLT_REDUCTION_SCHEMES 3
#define TC_CUBLASLT_ALIGNMENT_A_BYTES 5
// cublasLtReductionScheme_t: parts of a product are summed in the type that it computes in.
#define TC_CUBLASLT_REDUCTION_COMPUTE_TYPE 2
