#include "CCUDA.h"

static const char parameters[] = {
#embed "include/parameters.h"
};
static const char device[] = {
#embed "kernels/device.cuh"
};
static const char elementwise[] = {
#embed "kernels/elementwise.cu"
};

#define SOURCE(name, text) { name, text, sizeof text }
static const struct tc_cuda_source all[] = {
    SOURCE("parameters.h", parameters),
    SOURCE("device.cuh", device),
    SOURCE("elementwise.cu", elementwise),
};
const struct tc_cuda_source *const tc_cuda_sources = all;
const int tc_cuda_source_count = sizeof all / sizeof all[0];
