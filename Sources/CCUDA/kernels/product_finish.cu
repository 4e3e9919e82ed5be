// Sums of product's splits, in their order (the same every time), and the epilogue. See tc_cuda_product.
//
// Defines: none.
// Grid: any; ceil(M * ceil(filters / 8) / 256) is good. Block: 256. Shared: 0.
// Left to itself a compiler spills to fit six.
#define BLOCKS 4
#include "device.cuh"
#include "epilogue.cuh"
#include "gather.cuh"

KERNEL(product_finish, tc_cuda_product, 256) {
  await_previous();
  int across = (p.filters + 7) / 8;
  long long rows = product_rows(p), count = rows * across;
  bool aligned = p.filters % 4 == 0 && is_aligned(p.partial, 16);
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count;
       i += (long long)gridDim.x * blockDim.x) {
    long long row = i / across;
    int n = (int)(i - row * across) * 8, existing = min(8, p.filters - n);
    float sums[8];
#pragma unroll
    for (int j = 0; j < 8; j++) sums[j] = 0.0f;
    for (int split = 0; split < p.splits; split++) {
      float some[8];
      long long from = (split * rows + row) * p.filters + n;
      load_elements<8>(some, p.partial, from, TC_F32, existing, aligned && existing == 8);
#pragma unroll
      for (int j = 0; j < 8; j++) sums[j] += some[j];
    }
    Epilogue<8> epilogue(p, n);
    epilogue.store(p, (int)row, sums);
  }
}
