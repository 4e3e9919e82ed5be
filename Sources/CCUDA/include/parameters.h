// What kernels are given: one struct a kernel, the same bytes for Swift, for NVRTC and for the simulated driver.
//
// Strides are in elements, from one row (a pixel, a token) to the next; within a row elements lie together.
// Everything here must mean the same to a C, a C++ and a CUDA compiler, and needs no header.
#pragma once

// An address in the GPU's memory; 0 where there is none.
typedef unsigned long long tc_address;

// How elements are stored. The numbers are also those of -D ELEMENT=.
#define TC_F32 0
#define TC_F16 1
#define TC_BF16 2
#define TC_I32 3
#define TC_U8 4
// Eight bits: a sign, 4 of exponent, 3 of mantissa, to 448 (PTX ISA, e4m3). Only for product_warpgroup's operands, where
// two of them count as one element.
#define TC_E4M3 5

// Activations and what `map` does. AFFINE: a x + b. QUANTIZE: round(clamp(a x + b, 0, 255)), half to even, NaN to 0.
// CLAMP: to a...b.
#define TC_IDENTITY 0
#define TC_SILU 1
#define TC_GELU 2
#define TC_QUICK_GELU 3
#define TC_RELU 4
#define TC_TANH 5
#define TC_EXP 6
#define TC_AFFINE 7
#define TC_QUANTIZE 8
#define TC_CLAMP 9

#define TC_ADD 0
#define TC_SUBTRACT 1
#define TC_MULTIPLY 2
#define TC_DIVIDE 3

// product.cu `product` (tensor cores), product_plain.cu `product_plain` (any element, size and alignment):
//   result[m][n] = activation(scale * sum_k gathered(x)[m][k] * weight[n][k] + bias[n] + residual[m][n])
// and where moments are given, (the scaled sum - mean[m] * weight_sums[n]) * inverse[m] in the sum's place.
// Convolution: m counts output pixels in rows, k counts (kernel row, kernel column, channel), channels fastest.
// Linear: a picture of height M and width 1 with a kernel of 1x1.
struct tc_cuda_product {
  tc_address x;            // [height * width][channels]
  tc_address weight;       // [filters][kernel_rows * kernel_columns * channels]
  tc_address bias;         // [filters], or 0
  tc_address residual;     // [M][filters] of the result's element, or 0
  tc_address moments;      // f32 [M][2]: mean and 1 / deviation of rows, or 0
  tc_address weight_sums;  // f32 [filters], read where there are moments
  tc_address result;       // [M][filters]
  tc_address partial;      // f32 [splits][M][filters] where splits > 1: sums, finished by `product_finish`
  int height, width, channels;
  int x_stride;
  int weight_stride;  // from filter to filter
  int kernel_rows, kernel_columns, stride, pad_top, pad_left;
  int out_height, out_width, filters;
  int result_stride, residual_stride;
  int bias_element, result_element;
  int activation;
  int splits;  // of k, each a multiple of TILE_K but the last
  // 1: the filters are four phases of an up-sampling (Op.joinPhases): filter (2a + b) * filters/4 + c of position (y, x)
  // is channel c of pixel (2 (y - a) + a, 2 (x - b) + b) of a result [2 (out_height - 1)][2 (out_width - 1)][filters/4],
  // and falls away where that lies outside. No residual.
  int joins_phases;
  // 1: GEGLU. Weights and bias lie with value and gate filters in turns (2i: value i, 2i + 1: its gate); the result has
  // filters/2 columns: value * gelu(gate). No residual.
  int geglu;
  float scale;
};

// How boxes of a tensor are brought to shared memory, as the driver writes it (CUtensorMap, cuTensorMapEncodeTiled).
// Kernels want it at a multiple of 64 bytes; a host copies it from there.
struct
#ifdef __CUDACC_RTC__
    alignas(64)
#endif
    tc_cuda_tensor_map {
  unsigned long long words[16];
};

// product_warpgroup.cu `product_warpgroup`: the same product where the kernel's stride is 1. A linear layer's picture has
// height 1 and width M here.
struct tc_cuda_warpgroup_product {
  // [height][width][channels], boxes of 64 channels, 1 << box_shift pixels across and the rest of TILE_M down.
  struct tc_cuda_tensor_map x;
  struct tc_cuda_tensor_map weight;  // [1][filters][depth], boxes of 64 of k by TILE_N
  struct tc_cuda_product product;
  int box_shift;  // what a block makes of the result is a box of pixels, 1 << box_shift wide
  // 1: the weights were there before any kernel of this program ran, so they may be brought before it is this kernel's
  // turn.
  int has_early_weights;
  int rest[8];  // to the multiple of 64 bytes that a kernel's is long, whose maps are aligned to them
};

// attention.cu `attention` (tensor cores), attention_plain.cu `attention_plain`: softmax(q k^T scale) v for each head;
// head h is columns h * head_dimension...; `causal`: keys up to the query's own position.
struct tc_cuda_attention {
  tc_address q, k, v, result;
  int queries, keys, heads, head_dimension;
  int q_stride, k_stride, v_stride, result_stride;
  float scale;
  int causal;
};

// norms.cu `softmax`: rows of f32 to rows of ELEMENT.
struct tc_cuda_softmax {
  tc_address x, result;
  int rows, columns, x_stride, result_stride;
};

// norms.cu `group_norm_sums` (grid: blocks x groups) writes f32 [groups][blocks][3] (count, mean, squares about it) to
// partial; `group_norm_apply` reads them and writes activation((x - mean) / sqrt(var + epsilon) * gain + shift).
struct tc_cuda_group_norm {
  tc_address x, gain, shift, result, partial;
  int rows, channels, groups;
  int x_stride, result_stride;
  int gain_element, shift_element;
  int blocks;
  float epsilon;
  int activation;
};

// norms.cu `row_moments`: f32 [rows][2], mean and 1 / sqrt(variance + epsilon).
struct tc_cuda_row_moments {
  tc_address x, result;
  int rows, columns, x_stride;
  float epsilon;
};

// quantize.cu `largest`: scale = the largest |x| / 448, or 0; `quantize`: x / scale as e4m3. x: dense f16.
struct tc_cuda_quantize {
  tc_address x, result, scale;  // scale: f32 [1]
  long long count;              // a multiple of 8
};

// quantize.cu `quantize_rows`: rows of f16, each less its mean and by its deviation, as e4m3 by a scale of its own.
// moments: f32 [rows][2], 0 and what a product of the row and the weights has to be multiplied by: both scales.
struct tc_cuda_quantize_rows {
  tc_address x, result, moments, weight_scale;
  int rows, columns, x_stride;  // columns: a multiple of 16
  float epsilon;
};

// norms.cu `layer_norm`.
struct tc_cuda_layer_norm {
  tc_address x, gain, shift, result;
  int rows, columns, x_stride, result_stride;
  int gain_element, shift_element;
  float epsilon;
};

// elementwise.cu `map`: result = function(x; a, b), any element to any.
struct tc_cuda_map {
  tc_address x, result;
  long long rows, columns, x_stride, result_stride;
  int x_element, result_element, function;
  float a, b;
};

// elementwise.cu `binary`: both of one element; the second repeats where its stride is 0.
struct tc_cuda_binary {
  tc_address x, y, result;
  long long shape[4];      // outermost first
  long long x_strides[4];  // elements
  long long y_strides[4];
  long long result_strides[4];
  int element, operation;
};

// elementwise.cu `geglu`: [rows][2 columns] -> [rows][columns], first half * gelu(second half).
struct tc_cuda_geglu {
  tc_address x, result;
  long long rows, columns, x_stride, result_stride;
  int element;
};

// moving.cu `copy`: a box of elements between strides.
struct tc_cuda_copy {
  tc_address x, result;
  long long shape[5];  // outermost first
  long long x_strides[5];
  long long result_strides[5];
  int element_size;
};

// moving.cu `upsample`: pixel (y, x) is source pixel (y * height / new_height, x * width / new_width).
struct tc_cuda_upsample {
  tc_address x, result;
  int height, width, new_height, new_width, pixel_size;  // pixel_size: bytes
};

// moving.cu `join_phases`: [height + 1][width + 1][4 pixels] -> [2 height][2 width][pixel], see Op.joinPhases.
struct tc_cuda_join_phases {
  tc_address x, result;
  int height, width, pixel_size;
};

// moving.cu `gather`: rows of a table; an index outside it reads row 0.
struct tc_cuda_gather {
  tc_address table, index, result;
  int count, table_rows, row_size;  // row_size: bytes
};

// moving.cu `sinusoid`: f32 [count] -> f32 [count][dimension], see Op.sinusoid.
struct tc_cuda_sinusoid {
  tc_address t, result;
  int count, dimension, flip_sin_to_cos;
  float frequency_shift;
};
