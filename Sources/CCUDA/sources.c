#include "CCUDA.h"

// A kernel's is aligned to 64 bytes, and so as long as a multiple of it; the driver copies all of that.
_Static_assert(sizeof(struct tc_cuda_warpgroup_product) % 64 == 0, "as long for a host as for a kernel");

// As cuda.h has it.
_Static_assert(sizeof(tc_CUlaunchAttribute) == 72 && _Alignof(tc_CUlaunchAttribute) == 8, "CUlaunchAttribute");

static const char parameters[] = {
#embed "include/parameters.h"
};
static const char device[] = {
#embed "kernels/device.cuh"
};
static const char elements[] = {
#embed "kernels/elements.cuh"
};
static const char vectors[] = {
#embed "kernels/vectors.cuh"
};
static const char moments[] = {
#embed "kernels/moments.cuh"
};
static const char reduce[] = {
#embed "kernels/reduce.cuh"
};
static const char tile[] = {
#embed "kernels/tile.cuh"
};
static const char gather[] = {
#embed "kernels/gather.cuh"
};
static const char epilogue[] = {
#embed "kernels/epilogue.cuh"
};
static const char staging[] = {
#embed "kernels/staging.cuh"
};
static const char warpgroup[] = {
#embed "kernels/warpgroup.cuh"
};
static const char elementwise[] = {
#embed "kernels/elementwise.cu"
};
static const char moving[] = {
#embed "kernels/moving.cu"
};
static const char norms[] = {
#embed "kernels/norms.cu"
};
static const char product[] = {
#embed "kernels/product.cu"
};
static const char product_finish[] = {
#embed "kernels/product_finish.cu"
};
static const char product_plain[] = {
#embed "kernels/product_plain.cu"
};
static const char product_warpgroup[] = {
#embed "kernels/product_warpgroup.cu"
};
static const char quantize[] = {
#embed "kernels/quantize.cu"
};
static const char attention[] = {
#embed "kernels/attention.cu"
};
static const char attention_plain[] = {
#embed "kernels/attention_plain.cu"
};
static const char variants[] = {
#embed "kernels/variants.txt"
};

#define SOURCE(name, text) { name, text, sizeof text }
static const struct tc_cuda_source all[] = {
    SOURCE("parameters.h", parameters),
    SOURCE("device.cuh", device),
    SOURCE("elements.cuh", elements),
    SOURCE("vectors.cuh", vectors),
    SOURCE("moments.cuh", moments),
    SOURCE("reduce.cuh", reduce),
    SOURCE("tile.cuh", tile),
    SOURCE("gather.cuh", gather),
    SOURCE("epilogue.cuh", epilogue),
    SOURCE("staging.cuh", staging),
    SOURCE("warpgroup.cuh", warpgroup),
    SOURCE("elementwise.cu", elementwise),
    SOURCE("moving.cu", moving),
    SOURCE("norms.cu", norms),
    SOURCE("product.cu", product),
    SOURCE("product_warpgroup.cu", product_warpgroup),
    SOURCE("quantize.cu", quantize),
    SOURCE("product_finish.cu", product_finish),
    SOURCE("product_plain.cu", product_plain),
    SOURCE("attention.cu", attention),
    SOURCE("attention_plain.cu", attention_plain),
};
const struct tc_cuda_source *const tc_cuda_sources = all;
const int tc_cuda_source_count = sizeof all / sizeof all[0];
const struct tc_cuda_source tc_cuda_variants = SOURCE("variants.txt", variants);
