// A CUDA driver without a GPU: the entry points of CUDA's driver API and of NVRTC that the CUDA backend uses (those in
// Sources/CCUDA/include/driver.h), which compile the same kernel sources for the processor and run them there.
//
// It is opened at run time, as the real libraries are: TURBOCAM_LIBCUDA and TURBOCAM_LIBNVRTC name libcuda-simulator.so.
// What it is for is to find mistakes, so wherever CUDA allows an order, or promises nothing, it takes the worst one:
// - Calls of a stream run only when somebody synchronises; nodes of a graph in any order that their dependencies allow.
// - Memory and shared memory start as NaN, and allocations end at a page that must not be touched.
// - Asynchronous copies land as late as their wait allows (some at once), threads and blocks run in a shuffled order.
// - Threads that do not all reach a barrier, misaligned rows and copies end the launch, with a line on standard error.
//
// Environment, read by cuInit while no context is retained:
//   TURBOCAM_SIMULATOR_DEVICES  number of GPUs (1)
//   TURBOCAM_SIMULATOR_ARCH     capability (80), or a list: 75,86 gives the first GPU 7.5 and the others 8.6
//   TURBOCAM_SIMULATOR_DRIVER   what cuDriverGetVersion says (12040)
//   TURBOCAM_SIMULATOR_NVRTC    what nvrtcVersion says, in the same form (12040); its PTX is for no older driver
//   TURBOCAM_SIMULATOR_MEMORY   bytes of each GPU (16 GiB)
//   TURBOCAM_SIMULATOR_HOST_MEMORY  bytes of the host that can be page-locked (any)
//   TURBOCAM_SIMULATOR_TAKEN    numbers of GPUs that another process has to itself: 0,2 (none)
//   TURBOCAM_SIMULATOR_SEED     of the shuffled orders (1)
//   TURBOCAM_SIMULATOR_THREADS  host threads that run blocks (one a processor)
//   TURBOCAM_SIMULATOR_FAULT    a list of call=error or call@n=error: what the calls, or the n-th call of that kind since
//                               cuInit, give. Calls: init, count, device, context, info, alloc, host, free, copy, module,
//                               function, launch, overlap (a launch that may begin early), replay, kernel (one that runs,
//                               launched or replayed), sync, stream, event, capture, graph. Those of 700 and above stay, as on a GPU, until the context is released.
// Read at each compilation:
//   TURBOCAM_SIMULATOR_CXX      the compiler (clang++, else g++, else c++, as PATH has them)
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// Sets one of the variables above for this library alone, in the place of the environment's; null: the environment's
// again. A process whose tests run beside each other cannot change its environment.
__attribute__((visibility("default"))) void turbocam_simulator_set(const char *name, const char *value);

// How many calls of a kind (see TURBOCAM_SIMULATOR_FAULT) the calling thread has made.
__attribute__((visibility("default"))) long turbocam_simulator_calls(const char *kind);

// The last line that a failed launch wrote to standard error: kernel, block, thread and what happened. Empty where none
// has failed.
__attribute__((visibility("default"))) const char *turbocam_simulator_report(void);

#ifdef __cplusplus
}
#endif
