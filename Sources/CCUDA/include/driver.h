// What we use of cuda.h and nvrtc.h, 11.8 to 13: types of functions, to be cast to what dlsym gives.
// Where cuda.h maps a name to a later version (cuMemAlloc to cuMemAlloc_v2), the later name is what is looked up.
#pragma once
#include <stddef.h>

typedef int tc_CUresult;
typedef int tc_CUdevice;
typedef unsigned long long tc_CUdeviceptr;
typedef struct tc_CUctx_st *tc_CUcontext;
typedef struct tc_CUmod_st *tc_CUmodule;
typedef struct tc_CUfunc_st *tc_CUfunction;
typedef struct tc_CUstream_st *tc_CUstream;
typedef struct tc_CUevent_st *tc_CUevent;
typedef struct tc_CUgraph_st *tc_CUgraph;
typedef struct tc_CUgraphExec_st *tc_CUgraphExec;
typedef struct { char bytes[16]; } tc_CUuuid;

#define TC_CUDA(name, ...) typedef tc_CUresult (*tc_##name)(__VA_ARGS__)

TC_CUDA(cuInit, unsigned flags);
TC_CUDA(cuDriverGetVersion, int *version);
TC_CUDA(cuGetErrorName, tc_CUresult error, const char **name);
TC_CUDA(cuDeviceGetCount, int *count);
TC_CUDA(cuDeviceGet, tc_CUdevice *device, int ordinal);
TC_CUDA(cuDeviceGetName, char *name, int length, tc_CUdevice device);
TC_CUDA(cuDeviceGetAttribute, int *value, int attribute, tc_CUdevice device);
TC_CUDA(cuDeviceGetUuid_v2, tc_CUuuid *uuid, tc_CUdevice device);
TC_CUDA(cuDeviceTotalMem_v2, size_t *bytes, tc_CUdevice device);
TC_CUDA(cuDevicePrimaryCtxRetain, tc_CUcontext *context, tc_CUdevice device);
TC_CUDA(cuDevicePrimaryCtxRelease_v2, tc_CUdevice device);
TC_CUDA(cuDevicePrimaryCtxReset_v2, tc_CUdevice device);
TC_CUDA(cuCtxSetCurrent, tc_CUcontext context);
TC_CUDA(cuMemGetInfo_v2, size_t *free, size_t *total);
TC_CUDA(cuMemAlloc_v2, tc_CUdeviceptr *address, size_t bytes);
TC_CUDA(cuMemFree_v2, tc_CUdeviceptr address);
TC_CUDA(cuMemHostAlloc, void **pointer, size_t bytes, unsigned flags);
TC_CUDA(cuMemFreeHost, void *pointer);
TC_CUDA(cuMemcpyHtoDAsync_v2, tc_CUdeviceptr to, const void *from, size_t bytes, tc_CUstream stream);
TC_CUDA(cuMemcpyDtoHAsync_v2, void *to, tc_CUdeviceptr from, size_t bytes, tc_CUstream stream);
TC_CUDA(cuMemcpyDtoDAsync_v2, tc_CUdeviceptr to, tc_CUdeviceptr from, size_t bytes, tc_CUstream stream);
TC_CUDA(cuMemsetD8Async, tc_CUdeviceptr to, unsigned char value, size_t count, tc_CUstream stream);
TC_CUDA(cuModuleLoadDataEx, tc_CUmodule *module, const void *image, unsigned count, int *options, void **values);
TC_CUDA(cuModuleGetFunction, tc_CUfunction *function, tc_CUmodule module, const char *name);
TC_CUDA(cuFuncGetAttribute, int *value, int attribute, tc_CUfunction function);
TC_CUDA(cuFuncSetAttribute, tc_CUfunction function, int attribute, int value);
TC_CUDA(cuLaunchKernel, tc_CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
        unsigned block_y, unsigned block_z, unsigned shared_bytes, tc_CUstream stream, void **parameters, void **extra);
// CUlaunchAttribute and CUlaunchConfig. From `value` on it is a union of 64 bytes, aligned to 8, that begins with the
// number we set.
typedef struct {
  int id;
  int pad;
  int value;
  int more;
  long long rest[7];
} tc_CUlaunchAttribute;
typedef struct {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  tc_CUstream stream;
  tc_CUlaunchAttribute *attributes;
  unsigned attribute_count;
} tc_CUlaunchConfig;
TC_CUDA(cuLaunchKernelEx, const tc_CUlaunchConfig *config, tc_CUfunction function, void **parameters, void **extra);
// The map is a tc_cuda_tensor_map at a multiple of 64. Of the tensor's rank: sizes, boxes and steps in elements, innermost
// first; of one less: strides in bytes.
TC_CUDA(cuTensorMapEncodeTiled, void *map, int element, unsigned rank, void *base, const unsigned long long *sizes,
        const unsigned long long *strides, const unsigned *box, const unsigned *steps, int interleave, int swizzle,
        int l2_promotion, int fill);
TC_CUDA(cuStreamCreate, tc_CUstream *stream, unsigned flags);
TC_CUDA(cuStreamDestroy_v2, tc_CUstream stream);
TC_CUDA(cuStreamSynchronize, tc_CUstream stream);
TC_CUDA(cuStreamWaitEvent, tc_CUstream stream, tc_CUevent event, unsigned flags);
TC_CUDA(cuStreamBeginCapture_v2, tc_CUstream stream, int mode);
TC_CUDA(cuStreamEndCapture, tc_CUstream stream, tc_CUgraph *graph);
TC_CUDA(cuGraphInstantiateWithFlags, tc_CUgraphExec *executable, tc_CUgraph graph, unsigned long long flags);
TC_CUDA(cuGraphLaunch, tc_CUgraphExec executable, tc_CUstream stream);
TC_CUDA(cuGraphExecDestroy, tc_CUgraphExec executable);
TC_CUDA(cuGraphDestroy, tc_CUgraph graph);
TC_CUDA(cuEventCreate, tc_CUevent *event, unsigned flags);
TC_CUDA(cuEventDestroy_v2, tc_CUevent event);
TC_CUDA(cuEventRecord, tc_CUevent event, tc_CUstream stream);
TC_CUDA(cuEventRecordWithFlags, tc_CUevent event, tc_CUstream stream, unsigned flags);
TC_CUDA(cuEventSynchronize, tc_CUevent event);
TC_CUDA(cuEventElapsedTime, float *milliseconds, tc_CUevent start, tc_CUevent end);
#undef TC_CUDA

// CUresult
#define TC_CUDA_ERROR_OUT_OF_MEMORY 2
#define TC_CUDA_ERROR_DEVICE_UNAVAILABLE 46
#define TC_CUDA_ERROR_NO_DEVICE 100
#define TC_CUDA_ERROR_ECC_UNCORRECTABLE 214
#define TC_CUDA_ERROR_NVLINK_UNCORRECTABLE 220
#define TC_CUDA_ERROR_CONTAINED 226
#define TC_CUDA_ERROR_ILLEGAL_ADDRESS 700
#define TC_CUDA_ERROR_LAUNCH_TIMEOUT 702
#define TC_CUDA_ERROR_CONTEXT_IS_DESTROYED 709
#define TC_CUDA_ERROR_ASSERT 710
#define TC_CUDA_ERROR_HARDWARE_STACK_ERROR 714
#define TC_CUDA_ERROR_ILLEGAL_INSTRUCTION 715
#define TC_CUDA_ERROR_MISALIGNED_ADDRESS 716
#define TC_CUDA_ERROR_INVALID_ADDRESS_SPACE 717
#define TC_CUDA_ERROR_INVALID_PC 718
#define TC_CUDA_ERROR_LAUNCH_FAILED 719
#define TC_CUDA_ERROR_TENSOR_MEMORY_LEAK 721
#define TC_CUDA_ERROR_MPS_CLIENT_TERMINATED 810
#define TC_CUDA_ERROR_EXTERNAL_DEVICE 911
#define TC_CUDA_ERROR_UNKNOWN 999

// CUdevice_attribute
#define TC_CUDA_MULTIPROCESSORS 16
#define TC_CUDA_CLOCK_KHZ 13
#define TC_CUDA_MEMORY_CLOCK_KHZ 36
#define TC_CUDA_MEMORY_BUS_BITS 37
#define TC_CUDA_L2_BYTES 38
#define TC_CUDA_CAPABILITY_MAJOR 75
#define TC_CUDA_CAPABILITY_MINOR 76
#define TC_CUDA_SHARED_BYTES_OPTIN 97
// CUfunction_attribute
#define TC_CUDA_FUNCTION_LOCAL_BYTES 3
#define TC_CUDA_FUNCTION_REGISTERS 4
#define TC_CUDA_FUNCTION_MOST_SHARED 8
// Flags
#define TC_CUDA_STREAM_NON_BLOCKING 1
#define TC_CUDA_CAPTURE_THREAD_LOCAL 1
#define TC_CUDA_EVENT_RECORD_EXTERNAL 1
// CUtensorMapDataType, CUtensorMapSwizzle, CUtensorMapL2promotion
#define TC_CUDA_MAP_UINT16 1
#define TC_CUDA_MAP_SWIZZLE_128 3
#define TC_CUDA_MAP_PROMOTE_256 3
// CUlaunchAttributeID: programmatic stream serialization
#define TC_CUDA_LAUNCH_OVERLAPPING 6

typedef struct tc_nvrtc_program_st *tc_nvrtcProgram;
#define TC_NVRTC(name, ...) typedef int (*tc_##name)(__VA_ARGS__)
TC_NVRTC(nvrtcVersion, int *major, int *minor);
TC_NVRTC(nvrtcGetNumSupportedArchs, int *count);
TC_NVRTC(nvrtcGetSupportedArchs, int *archs);
TC_NVRTC(nvrtcCreateProgram, tc_nvrtcProgram *program, const char *source, const char *name, int headers,
         const char *const *texts, const char *const *names);
TC_NVRTC(nvrtcCompileProgram, tc_nvrtcProgram program, int count, const char *const *options);
TC_NVRTC(nvrtcGetCUBINSize, tc_nvrtcProgram program, size_t *bytes);
TC_NVRTC(nvrtcGetCUBIN, tc_nvrtcProgram program, char *cubin);
TC_NVRTC(nvrtcGetPTXSize, tc_nvrtcProgram program, size_t *bytes);
TC_NVRTC(nvrtcGetPTX, tc_nvrtcProgram program, char *ptx);
TC_NVRTC(nvrtcGetProgramLogSize, tc_nvrtcProgram program, size_t *bytes);
TC_NVRTC(nvrtcGetProgramLog, tc_nvrtcProgram program, char *log);
TC_NVRTC(nvrtcDestroyProgram, tc_nvrtcProgram *program);
#undef TC_NVRTC
typedef const char *(*tc_nvrtcGetErrorString)(int result);

