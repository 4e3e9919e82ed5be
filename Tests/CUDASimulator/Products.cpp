// cuBLASLt's calls, those of Sources/CCUDA/include/cublaslt.h: products of f16 and bf16 with sums of f32.
//
// Proposals differ in what they ask for: the second wants scratch memory, and fills it.
#include <cstring>

#include "Memory.h"
#include "Streams.h"
#include "cublaslt.h"

using namespace simulator;

#define CUBLASLT_API(name, ...)                                                                          \
  extern "C" __attribute__((visibility("default"))) int name(__VA_ARGS__);                               \
  static_assert(std::is_same<decltype(&name), tc_##name>::value, "not what cublaslt.h declares");        \
  int name(__VA_ARGS__)

struct tc_cublasLt_st {
  int device;
};
struct tc_cublasLtMatmulDesc_st {
  int transposes_a = 0, epilogue = 1;
  tc_CUdeviceptr bias = 0;
};
struct tc_cublasLtMatrixLayout_st {
  int type;
  unsigned long long rows, columns;
  long long leading;
};
struct tc_cublasLtMatmulPreference_st {
  size_t workspace = 0;
  unsigned alignment[4] = {256, 256, 256, 256};
  unsigned reductions = ~0u;  // all, which may round parts of sums to the result's type
};

namespace {

// cublasStatus_t
constexpr int ok = 0, not_initialized_yet = 1, wrong_value = 7, not_supported = 15, execution_failed = 13;
constexpr unsigned long long magic = 0x7475726266c0ull;
constexpr size_t scratch_bytes = 1 << 16;

float read(tc_CUdeviceptr address, long long index, int type) {
  uint16_t bits;
  memcpy(&bits, (const char *)address + 2 * index, 2);
  if (type == TC_CUDA_R_16BF) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
  }
  _Float16 half;
  memcpy(&half, &bits, 2);
  return (float)half;
}

void write(tc_CUdeviceptr address, long long index, int type, float value) {
  uint16_t bits;
  if (type == TC_CUDA_R_16BF) {
    uint32_t wide;
    memcpy(&wide, &value, 4);
    // To the nearest, halves to even; NaN stays one.
    bits = value != value ? 0x7fc0 : (wide + 0x7fff + (wide >> 16 & 1)) >> 16;
  } else {
    _Float16 half = (_Float16)value;
    memcpy(&bits, &half, 2);
  }
  memcpy((char *)address + 2 * index, &bits, 2);
}

// What one product needs, copied: descriptors may be gone when it runs.
struct Product {
  tc_cublasLtMatrixLayout_st a, b, c, d;
  tc_CUdeviceptr a_at, b_at, c_at, d_at, bias, workspace;
  size_t workspace_bytes;
  float alpha, beta;
  int device;

  static size_t bytes(const tc_cublasLtMatrixLayout_st &layout) {
    return 2 * ((layout.columns - 1) * layout.leading + layout.rows);
  }
  bool is_inside() const {
    auto inside = [&](tc_CUdeviceptr at, size_t size) { return memory().find(at, size, device, nullptr); };
    return inside(a_at, bytes(a)) && inside(b_at, bytes(b)) && inside(d_at, bytes(d)) &&
           (beta == 0 || inside(c_at, bytes(c))) && (!bias || inside(bias, 2 * d.rows)) &&
           (!workspace_bytes || inside(workspace, workspace_bytes));
  }
  int run() const {
    if (!is_inside()) return illegal_address;
    if (workspace_bytes) memset((void *)workspace, 0xff, workspace_bytes);
    for (unsigned long long column = 0; column < d.columns; column++)
      for (unsigned long long row = 0; row < d.rows; row++) {
        float sum = 0;
        for (unsigned long long k = 0; k < a.rows; k++)
          sum += read(a_at, row * a.leading + k, a.type) * read(b_at, column * b.leading + k, b.type);
        sum *= alpha;
        if (beta != 0) sum += beta * read(c_at, column * c.leading + row, c.type);
        if (bias) sum += read(bias, row, d.type);
        write(d_at, column * d.leading + row, d.type, sum);
      }
    return success;
  }
};

}  // namespace

CUBLASLT_API(cublasLtCreate, tc_cublasLtHandle *handle) {
  std::lock_guard lock(state);
  Context *context = current_context();
  if (!context) return not_initialized_yet;
  *handle = new tc_cublasLt_st{context->device};
  return ok;
}
CUBLASLT_API(cublasLtDestroy, tc_cublasLtHandle handle) { return delete handle, ok; }
extern "C" __attribute__((visibility("default"))) size_t cublasLtGetVersion(void) { return 120304; }

CUBLASLT_API(cublasLtMatmulDescCreate, tc_cublasLtMatmulDesc *descriptor, int compute, int scale) {
  if (compute != TC_CUBLAS_COMPUTE_32F || scale != TC_CUDA_R_32F) return not_supported;
  *descriptor = new tc_cublasLtMatmulDesc_st;
  return ok;
}
CUBLASLT_API(cublasLtMatmulDescDestroy, tc_cublasLtMatmulDesc descriptor) { return delete descriptor, ok; }
CUBLASLT_API(cublasLtMatmulDescSetAttribute, tc_cublasLtMatmulDesc descriptor, int attribute, const void *value,
             size_t bytes) {
  auto set = [&](auto &field) {
    if (bytes != sizeof(field)) return wrong_value;
    memcpy(&field, value, bytes);
    return ok;
  };
  switch (attribute) {
  case TC_CUBLASLT_TRANSA: return set(descriptor->transposes_a);
  case TC_CUBLASLT_EPILOGUE: return set(descriptor->epilogue);
  case TC_CUBLASLT_BIAS_POINTER: return set(descriptor->bias);
  default: return wrong_value;
  }
}

CUBLASLT_API(cublasLtMatrixLayoutCreate, tc_cublasLtMatrixLayout *layout, int type, unsigned long long rows,
             unsigned long long columns, long long leading) {
  if (leading < (long long)rows) return wrong_value;
  *layout = new tc_cublasLtMatrixLayout_st{type, rows, columns, leading};
  return ok;
}
CUBLASLT_API(cublasLtMatrixLayoutDestroy, tc_cublasLtMatrixLayout layout) { return delete layout, ok; }

CUBLASLT_API(cublasLtMatmulPreferenceCreate, tc_cublasLtMatmulPreference *preference) {
  *preference = new tc_cublasLtMatmulPreference_st;
  return ok;
}
CUBLASLT_API(cublasLtMatmulPreferenceDestroy, tc_cublasLtMatmulPreference preference) { return delete preference, ok; }
CUBLASLT_API(cublasLtMatmulPreferenceSetAttribute, tc_cublasLtMatmulPreference preference, int attribute,
             const void *value, size_t bytes) {
  if (attribute == TC_CUBLASLT_WORKSPACE_BYTES && bytes == sizeof(size_t))
    return memcpy(&preference->workspace, value, bytes), ok;
  if (attribute == TC_CUBLASLT_REDUCTION_SCHEMES && bytes == sizeof(unsigned))
    return memcpy(&preference->reductions, value, bytes), ok;
  int which = attribute - TC_CUBLASLT_ALIGNMENT_A_BYTES;
  if (which < 0 || which > 3 || bytes != sizeof(unsigned)) return wrong_value;
  return memcpy(&preference->alignment[which], value, bytes), ok;
}

CUBLASLT_API(cublasLtMatmulAlgoGetHeuristic, tc_cublasLtHandle, tc_cublasLtMatmulDesc descriptor,
             tc_cublasLtMatrixLayout a, tc_cublasLtMatrixLayout b, tc_cublasLtMatrixLayout c, tc_cublasLtMatrixLayout d,
             tc_cublasLtMatmulPreference preference, int wanted, tc_cublasLtMatmulHeuristicResult *results, int *count) {
  *count = 0;
  bool half = a->type == TC_CUDA_R_16F || a->type == TC_CUDA_R_16BF;
  bool alike = b->type == a->type && c->type == a->type && d->type == a->type;
  bool fits = a->rows == b->rows && a->columns == d->rows && b->columns == d->columns && c->rows == d->rows &&
              c->columns == d->columns;
  if (!fits) return wrong_value;
  if (!half || !alike || descriptor->transposes_a != TC_CUBLAS_OP_T) return not_supported;
  for (unsigned alignment : preference->alignment)
    if (alignment < 16) return not_supported;
  // Ours are always to be summed in f32.
  if (preference->reductions & ~(unsigned)TC_CUBLASLT_REDUCTION_COMPUTE_TYPE) return not_supported;
  for (int rank = 0; rank < 2 && rank < wanted; rank++) {
    size_t workspace = rank * scratch_bytes;
    if (workspace > preference->workspace) continue;
    results[*count] = {};
    results[*count].algorithm.data[0] = magic + rank;
    results[*count].workspace = workspace;
    ++*count;
  }
  return ok;
}

CUBLASLT_API(cublasLtMatmul, tc_cublasLtHandle handle, tc_cublasLtMatmulDesc descriptor, const void *alpha,
             tc_CUdeviceptr a, tc_cublasLtMatrixLayout a_layout, tc_CUdeviceptr b, tc_cublasLtMatrixLayout b_layout,
             const void *beta, tc_CUdeviceptr c, tc_cublasLtMatrixLayout c_layout, tc_CUdeviceptr d,
             tc_cublasLtMatrixLayout d_layout, const tc_cublasLtMatmulAlgo *algorithm, tc_CUdeviceptr workspace,
             size_t workspace_bytes, tc_CUstream handle_of_stream) {
  std::unique_lock lock(state);
  if (begin_call("launch")) return execution_failed;
  std::shared_ptr<Stream> stream = find_stream(handle_of_stream);
  unsigned long long rank = algorithm->data[0] - magic;
  if (!stream || rank > 1 || workspace_bytes < rank * scratch_bytes) return wrong_value;
  Product product = {*a_layout, *b_layout, *c_layout, *d_layout, a, b, c, d, descriptor->bias, workspace,
                     workspace_bytes, *(const float *)alpha, *(const float *)beta, handle->device};
  if (descriptor->epilogue != TC_CUBLASLT_EPILOGUE_BIAS) product.bias = 0;
  return submit(stream, [=] { return product.run(); }) == success ? ok : execution_failed;
}
