// Functions of one number, applied to arrays.

typedef float lanes __attribute__((vector_size(TC_LANES * 4), aligned(4)));
typedef int32_t ints __attribute__((vector_size(TC_LANES * 4), aligned(4)));
typedef uint32_t units __attribute__((vector_size(TC_LANES * 4), aligned(4)));

// A vector of bf16 or f32.
static inline __attribute__((always_inline)) lanes load_lanes(const void *p, tc_element element) {
  if (element == tc_bf16) {
    typedef uint16_t halves __attribute__((vector_size(TC_LANES * 2), aligned(2)));
    return (lanes)(__builtin_convertvector(*(const halves *)p, units) << 16);
  }
  return (lanes)*(const units *)p;
}

static inline float total(lanes x) {
#if TC_LANES == 16
  typedef float half __attribute__((vector_size(32)));
  half h = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7)
           + __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
#elif TC_LANES == 8
  lanes h = x;
#endif
  typedef float quarter __attribute__((vector_size(16)));
#if TC_LANES == 4
  quarter q = x;
#else
  quarter q = __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
#endif
  quarter r = q + __builtin_shufflevector(q, q, 2, 3, 0, 1);
  return r[0] + r[1];
}

// `exponential` of each; with AVX-512 the scaling instruction gives zeros and infinities by itself.
static inline lanes exponential_lanes(lanes x) {
#if TC_LANES == 16
  lanes n = (lanes)_mm512_roundscale_ps((__m512)(x * 1.44269504088896341f), 8);
#else
  // Bounds by masks: NaN, which minima and maxima would drop, stays.
  const lanes least = (lanes){} - 104, most = (lanes){} + 89;
  ints low = x < least, high = x > most;
  x = (lanes)(((ints)x & ~(low | high)) | ((ints)least & low) | ((ints)most & high));
  const float magic = 12582912.0f;
  lanes n = (x * 1.44269504088896341f + magic) - magic;
#endif
  lanes f = x - n * 0.693359375f;
  f = f + n * 2.12194440e-4f;
  lanes y = f * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * f + 8.3334519073e-3f;
  y = y * f + 4.1665795894e-2f;
  y = y * f + 1.6666665459e-1f;
  y = y * f + 5.0000001201e-1f;
  y = y * f * f + f + 1.0f;
#if TC_LANES == 16
  return (lanes)_mm512_scalef_ps((__m512)y, (__m512)n);
#else
  ints power = __builtin_convertvector(n, ints), half = power >> 1;
  return y * (lanes)((half + 127) << 23) * (lanes)((power - half + 127) << 23);
#endif
}

// 2^x; Cephes' exp2f, relative error below 2e-7.
static inline lanes power_of_two_lanes(lanes x) {
#if TC_LANES == 16
  lanes n = (lanes)_mm512_roundscale_ps((__m512)x, 8);
  lanes f = x - n;
  lanes y = f * 1.535336188e-4f + 1.339887440e-3f;
  y = y * f + 9.618437357e-3f;
  y = y * f + 5.550332471e-2f;
  y = y * f + 2.402264791e-1f;
  y = y * f + 6.931472028e-1f;
  y = y * f + 1.0f;
  return (lanes)_mm512_scalef_ps((__m512)y, (__m512)n);
#else
  return exponential_lanes(x * 0.693147181f);
#endif
}

// The same for results of 16 bits: relative error 1e-4, the least of a cubic that is 1 at 0.
static inline lanes rough_power_of_two_lanes(lanes x) {
#if TC_LANES == 16
  lanes n = (lanes)_mm512_roundscale_ps((__m512)x, 8);
  lanes f = x - n;
  lanes y = f * 5.500889444e-2f + 2.422109942e-1f;
  y = y * f + 6.932829349e-1f;
  y = y * f + 1.0f;
  return (lanes)_mm512_scalef_ps((__m512)y, (__m512)n);
#else
  return power_of_two_lanes(x);
#endif
}

// x·σ(a·x) on whole vectors, with a reciprocal good to 2^-27.
static inline lanes swish_lanes(lanes x, float a) {
#if TC_LANES == 16
  // The smaller of two sizes, with the first one's sign: past 104 powers are 0 or infinite, and far past it
  // `exponential_lanes` would not find them. NaN, which is lost here, comes back with the last product.
  lanes bounded = (lanes)_mm512_range_ps((__m512)(x * -a), _mm512_set1_ps(104), 2);
  lanes y = exponential_lanes(bounded) + 1.0f;
  lanes r = (lanes)_mm512_rcp14_ps((__m512)y);
  lanes corrected = r * (2.0f - y * r);
  // Where e^-x is infinite the correction would give NaN for 0.
  return x * (lanes)_mm512_mask_mov_ps((__m512)corrected,
                                       _mm512_cmp_ps_mask((__m512)r, _mm512_setzero_ps(), _CMP_EQ_OQ),
                                       _mm512_setzero_ps());
#else
  return x / (exponential_lanes(x * -a) + 1.0f);
#endif
}

static inline void swish(float *restrict x, size_t n, float a) {
  size_t i = 0;
  for (; i + TC_LANES <= n; i += TC_LANES) *(lanes *)(x + i) = swish_lanes(*(const lanes *)(x + i), a);
  for (; i < n; i++) x[i] = x[i] * sigmoid(a * x[i]);
}

// 1/x, good to 2^-27.
static inline lanes reciprocal_lanes(lanes x) {
#if TC_LANES == 16
  lanes r = (lanes)_mm512_rcp14_ps((__m512)x);
  return r * (2.0f - x * r);
#else
  return 1.0f / x;
#endif
}

// x·Φ(x) on whole vectors: |x|·erf(|x|/√2) is even, so the sign needs no care. The half comes first, so that the largest
// numbers stay finite.
static inline lanes gelu_lanes(lanes x) {
  lanes half = x * 0.5f, size = (lanes)((ints)half & INT32_MAX), a = size * 1.41421356f;
#if TC_LANES == 16
  // From here on erf is 1, and powers of far larger numbers would be NaN.
  a = (lanes)_mm512_min_ps(_mm512_set1_ps(10), (__m512)a);
#endif
  lanes t = reciprocal_lanes(a * 0.3275911f + 1.0f);
  lanes y = t * 1.061405429f - 1.453152027f;
  y = y * t + 1.421413741f;
  y = y * t - 0.284496736f;
  y = y * t + 0.254829592f;
  lanes erf = 1.0f - y * t * power_of_two_lanes(a * a * -1.44269504f);
  return half + size * erf;
}

// x becomes gelu(x), and with `y` y·gelu(x).
static inline void gelu_all(float *restrict x, const float *restrict y, size_t n) {
  size_t i = 0;
  for (; i + TC_LANES <= n; i += TC_LANES) {
    lanes g = gelu_lanes(*(const lanes *)(x + i));
    *(lanes *)(x + i) = y ? g * *(const lanes *)(y + i) : g;
  }
  for (; i < n; i++) x[i] = gelu(x[i]) * (y ? y[i] : 1);
}

#define EACH(expression)                     \
  for (size_t i = 0; i < n; i++) {           \
    float t = x[i];                          \
    x[i] = (expression);                     \
  }                                          \
  break;

static inline void apply_function(float *restrict x, size_t n, tc_function function, float a, float b) {
  switch (function) {
  case tc_identity: break;
  case tc_silu: swish(x, n, 1); break;
  case tc_gelu: gelu_all(x, NULL, n); break;
  case tc_quick_gelu: swish(x, n, 1.702f); break;
  case tc_relu: EACH(t < 0 ? 0 : t)
  case tc_tanh: EACH(hyperbolic_tangent(t))
  case tc_exp: EACH(exponential(t))
  case tc_affine: EACH(t * a + b)
  case tc_quantize: EACH(t == t ? nearest(within(t * a + b, 0, 255)) : 0)
  case tc_clamp: EACH(within(t, a, b))
  }
}
#undef EACH

// An activation of a whole vector.
static inline __attribute__((always_inline)) lanes activated(lanes x, tc_function function) {
  switch (function) {
  case tc_identity: return x;
  case tc_silu: return swish_lanes(x, 1);
  // NaN stays.
  case tc_relu: return (lanes)((ints)x & ~(x < 0));
  default: apply_function((float *)&x, TC_LANES, function, 0, 0); return x;
  }
}
