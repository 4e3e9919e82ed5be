// Functions of one number, applied to arrays.

typedef float lanes __attribute__((vector_size(TC_LANES * 4), aligned(4)));

static inline lanes exponential_lanes(lanes x) {
#if TC_LANES == 16
  // Exact for the far ends too: the scaling instruction gives zeros and infinities by itself.
  lanes n = (lanes)_mm512_roundscale_ps((__m512)(x * 1.44269504088896341f), 8);
  lanes f = x - n * 0.693359375f;
  f = f + n * 2.12194440e-4f;
  lanes y = f * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * f + 8.3334519073e-3f;
  y = y * f + 4.1665795894e-2f;
  y = y * f + 1.6666665459e-1f;
  y = y * f + 5.0000001201e-1f;
  y = y * f * f + f + 1.0f;
  return (lanes)_mm512_scalef_ps((__m512)y, (__m512)n);
#else
  lanes y;
  for (int i = 0; i < TC_LANES; i++) y[i] = exponential(x[i]);
  return y;
#endif
}

// x·σ(a·x) on whole vectors, with a reciprocal good to 2^-27.
static inline lanes swish_lanes(lanes x, float a) {
#if TC_LANES == 16
  lanes y = exponential_lanes(x * -a) + 1.0f;
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
  case tc_gelu: EACH(gelu(t))
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
