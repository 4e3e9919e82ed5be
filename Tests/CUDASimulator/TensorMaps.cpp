// cuTensorMapEncodeTiled, for tensors of three dimensions.
#include <cstring>

#include "Context.h"
#include "device/machine.h"

using namespace simulator;

CUDA_API(cuTensorMapEncodeTiled, void *map, int element, unsigned rank, void *base, const unsigned long long *sizes,
         const unsigned long long *strides, const unsigned *box, const unsigned *steps, int interleave, int swizzle,
         int, int fill) {
  if (!map || !base || !sizes || !strides || !box || !steps) return invalid_value;
  if ((uintptr_t)map % 64 || (uintptr_t)base % 16 || rank != 3 || element != TC_CUDA_MAP_UINT16) return invalid_value;
  if (interleave || fill || (swizzle && swizzle != TC_CUDA_MAP_SWIZZLE_128)) return invalid_value;
  TensorMap made = {TensorMap::right_magic, (uintptr_t)base};
  made.element_bytes = 2;
  made.swizzle = swizzle == TC_CUDA_MAP_SWIZZLE_128;
  for (int i = 0; i < 3; i++) {
    if (sizes[i] < 1 || sizes[i] > 1ull << 32 || box[i] < 1 || box[i] > 256 || steps[i] != 1) return invalid_value;
    made.sizes[i] = sizes[i];
    made.box[i] = box[i];
  }
  for (int i = 0; i < 2; i++) {
    if (strides[i] % 16 || strides[i] >= 1ull << 40) return invalid_value;
    made.strides[i] = strides[i];
  }
  unsigned inner = box[0] * made.element_bytes;
  if (inner % 16 || (made.swizzle && inner > 128)) return invalid_value;
  memset(map, 0, 128);
  memcpy(map, &made, sizeof made);
  return success;
}
