// Loads and stores of each element type by way of f32, and the functions of one number. Loops are plain C
// over arrays that do not overlap: the compiler makes vectors of them.

#if defined(TC_BF16_DOT)
typedef __m256bh __m256bh_u __attribute__((aligned(1)));
#endif

static inline size_t element_size(tc_element element) {
  return element == tc_u8 || element == tc_i8 ? 1 : element == tc_bf16 || element == tc_f16 ? 2 : 4;
}

static inline const void *at(const void *p, size_t index, tc_element element) {
  return (const char *)p + index * element_size(element);
}
static inline void *at_mutable(void *p, size_t index, tc_element element) {
  return (char *)p + index * element_size(element);
}

static inline float float_from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
static inline uint32_t bits_from_float(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

// Round to nearest even, as the hardware's VCVTNEPS2BF16 does; NaN stays NaN.
static inline uint16_t bf16_from_float(float x) {
  uint32_t bits = bits_from_float(x);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded);
}
static inline float float_from_bf16(uint16_t x) { return float_from_bits((uint32_t)x << 16); }

// `source` may be unaligned: weights come as they lie in a file.
static inline void load_floats(float *restrict to, const void *restrict source, tc_element element, size_t n) {
  switch (element) {
  case tc_f32: memcpy(to, source, n * sizeof(float)); break;
  case tc_bf16:
    for (size_t i = 0; i < n; i++) {
      uint16_t x;
      memcpy(&x, (const char *)source + 2 * i, 2);
      to[i] = float_from_bf16(x);
    }
    break;
  case tc_f16:
    for (size_t i = 0; i < n; i++) {
      _Float16 x;
      memcpy(&x, (const char *)source + 2 * i, 2);
      to[i] = (float)x;
    }
    break;
  case tc_i32:
    for (size_t i = 0; i < n; i++) {
      int32_t x;
      memcpy(&x, (const char *)source + 4 * i, 4);
      to[i] = (float)x;
    }
    break;
  case tc_u8:
    for (size_t i = 0; i < n; i++) to[i] = ((const uint8_t *)source)[i];
    break;
  case tc_i8:
    for (size_t i = 0; i < n; i++) to[i] = ((const int8_t *)source)[i];
    break;
  }
}

static inline float within(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

// Nearest integer, halves to even, for |x| < 2^22.
static inline float nearest(float x) {
  const float magic = 12582912.0f;
  return (x + magic) - magic;
}

static inline void store_floats(void *restrict to, const float *restrict source, tc_element element,
                                size_t n) {
  switch (element) {
  case tc_f32: memcpy(to, source, n * sizeof(float)); break;
  case tc_bf16: {
    size_t i = 0;
#if defined(TC_BF16_DOT)
    for (; i + 16 <= n; i += 16)
      *(__m256bh_u *)((uint16_t *)to + i) = _mm512_cvtneps_pbh(_mm512_loadu_ps(source + i));
#endif
    for (; i < n; i++) ((uint16_t *)to)[i] = bf16_from_float(source[i]);
    break;
  }
  case tc_f16:
    for (size_t i = 0; i < n; i++) ((_Float16 *)to)[i] = (_Float16)source[i];
    break;
  case tc_i32:
    for (size_t i = 0; i < n; i++) ((int32_t *)to)[i] = (int32_t)source[i];
    break;
  case tc_u8:
    for (size_t i = 0; i < n; i++) {
      float x = source[i] == source[i] ? within(source[i], 0, 255) : 0;
      ((uint8_t *)to)[i] = (uint8_t)x;
    }
    break;
  case tc_i8:
    for (size_t i = 0; i < n; i++) ((int8_t *)to)[i] = (int8_t)nearest(within(source[i] == source[i] ? source[i] : 0, -127, 127));
    break;
  }
}

// Stores floats, or, where there are factors, i8 of their products with them. `x` is spent.
static inline void store_or_quantize(void *restrict to, size_t index, float *restrict x, tc_element element,
                                     const float *restrict quantum, size_t n) {
  if (!quantum) {
    store_floats(at_mutable(to, index, element), x, element, n);
    return;
  }
  for (size_t i = 0; i < n; i++) x[i] *= quantum[i];
  store_floats((int8_t *)to + index, x, tc_i8, n);
}

// Cephes' expf: relative error below 2e-7. The power of two is applied in two halves, so that results
// near the ends of the range are right.
static inline float exponential(float x) {
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  float n = nearest(x * 1.44269504088896341f);
  float f = x - n * 0.693359375f;
  f = f + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * f + 1.3981999507e-3f;
  y = y * f + 8.3334519073e-3f;
  y = y * f + 4.1665795894e-2f;
  y = y * f + 1.6666665459e-1f;
  y = y * f + 5.0000001201e-1f;
  y = y * f * f + f + 1.0f;
  int32_t power = (int32_t)n, half = power >> 1;
  return y * float_from_bits((uint32_t)(half + 127) << 23)
         * float_from_bits((uint32_t)(power - half + 127) << 23);
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7.
static inline float error_function(float x) {
  float a = fabsf(x), t = 1.0f / (1.0f + 0.3275911f * a);
  float y = 1.061405429f;
  y = y * t - 1.453152027f;
  y = y * t + 1.421413741f;
  y = y * t - 0.284496736f;
  y = y * t + 0.254829592f;
  return copysignf(1.0f - y * t * exponential(-a * a), x);
}

static inline float gelu(float x) { return 0.5f * x * (1.0f + error_function(x * 0.70710678118654752f)); }

// Below 0.1 the quotient cancels, so the series takes over.
static inline float hyperbolic_tangent(float x) {
  float a = fabsf(x), e = exponential(-2.0f * a), s = x * x;
  float large = copysignf((1.0f - e) / (1.0f + e), x);
  float small = x * (1.0f - s * (0.333333333f - s * (0.133333333f - s * 0.0539682540f)));
  return a < 0.1f ? small : large;
}
