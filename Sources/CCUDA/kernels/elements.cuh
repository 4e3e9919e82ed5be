// Elements in memory, and functions of one: the same on a GPU and in the simulator.
#pragma once
#include "device.cuh"

// An element of a type that is only known at run time.
DEVICE float load_element(tc_address base, long long i, int element) {
  switch (element) {
    case TC_F16: return to_float(((const f16 *)base)[i]);
    case TC_BF16: return to_float(((const bf16 *)base)[i]);
    case TC_I32: return to_float(((const int *)base)[i]);
    case TC_U8: return to_float(((const u8 *)base)[i]);
    default: return ((const float *)base)[i];
  }
}
DEVICE void store_element(tc_address base, long long i, int element, float x) {
  switch (element) {
    case TC_F16: ((f16 *)base)[i] = from_float<f16>(x); break;
    case TC_BF16: ((bf16 *)base)[i] = from_float<bf16>(x); break;
    case TC_I32: ((int *)base)[i] = from_float<int>(x); break;
    case TC_U8: ((u8 *)base)[i] = from_float<u8>(x); break;
    default: ((float *)base)[i] = x;
  }
}

// The type that -D ELEMENT=TC_F16 and so on names.
#ifdef ELEMENT
#if ELEMENT == TC_F16
typedef f16 element_t;
#elif ELEMENT == TC_BF16
typedef bf16 element_t;
#else
typedef float element_t;
#endif
#endif

DEVICE float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }

DEVICE float apply(int function, float x, float a, float b) {
  switch (function) {
    case TC_SILU: return gated(x, x);
    case TC_GELU: return gelu(x);
    case TC_QUICK_GELU: return gated(x, 1.702f * x);
    case TC_RELU: return fmaxf(x, 0.0f);
    case TC_TANH: return tanhf(x);
    case TC_EXP: return expf(x);
    case TC_AFFINE: return x * a + b;
    // fmaxf gives the number where the other is NaN.
    case TC_QUANTIZE: return rintf(fminf(fmaxf(x * a + b, 0.0f), 255.0f));
    case TC_CLAMP: return fminf(fmaxf(x, a), b);
    default: return x;
  }
}
