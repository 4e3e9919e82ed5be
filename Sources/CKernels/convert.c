#include "CKernels.h"
#include <string.h>

// Round to nearest even, as the hardware's VCVTNEPS2BF16 does; NaN stays NaN.
void turbocam_bf16_from_f32(uint16_t *destination, const float *source, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &source[i], sizeof bits);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    destination[i] = (bits & 0x7fffffff) > 0x7f800000 ? (uint16_t)((bits >> 16) | 0x40) : (uint16_t)rounded;
  }
}
