#pragma once
#include <stddef.h>
#include <stdint.h>

void turbocam_bf16_from_f32(uint16_t *destination, const float *source, size_t count);
