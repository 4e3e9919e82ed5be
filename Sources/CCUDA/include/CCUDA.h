// The CUDA driver API, NVRTC and what kernels are given, with declarations of our own: nothing of CUDA is needed to
// build. Libraries are opened at run time.
#pragma once
#include "cublaslt.h"
#include "driver.h"
#include "parameters.h"
#include "place.h"
#include "sources.h"
