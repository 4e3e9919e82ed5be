#ifndef CPIXELS_H
#define CPIXELS_H

#include <stdint.h>

/// Loops over samples of pictures, by AVX2 where the processor has it.

/// Bits behind the point of a sample's history: 255 of them fit an int16_t.
enum { TC_HISTORY_FRACTION = 7 };

/// Adds up by column how far a line of samples is from its history, and the sizes of that.
void tc_steady_compare(const uint8_t *restrict frame, const int16_t *restrict history, int32_t *restrict sums,
                       int32_t *restrict sizes, int count);

/// Moves the history of a line towards its samples by alpha / 256, and writes it as samples. Alpha lies between those of
/// two lines, (above * up + below * down) / 16.
void tc_steady_advance(const uint8_t *restrict frame, int16_t *restrict history, const int32_t *restrict above,
                       const int32_t *restrict below, int32_t up, int32_t down, uint8_t *restrict output, int count);

#endif
