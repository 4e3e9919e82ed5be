// Initialisation, devices, contexts and errors' names.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "Configuration.h"
#include "Context.h"
#include "Embedded.h"
#include "Memory.h"
#include "Streams.h"

namespace simulator {

std::mutex state;

namespace {

constexpr int most_devices = 64;
bool initialised = false;
Context contexts[most_devices];
thread_local Context *chosen = nullptr;

bool is_device(int device) { return device >= 0 && device < (int)configuration().archs.size(); }

bool any_retained() {
  for (const Context &context : contexts)
    if (context.retained) return true;
  return false;
}

struct Model {
  int arch, multiprocessors, shared_bytes, clock_khz, memory_khz, bus_bits, l2_bytes;
};

// A card of each architecture: T4, A100, RTX 3060, RTX 4090, H100, B200, RTX 5090. Shared memory a block may opt in to:
// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
const Model models[] = {
    {75, 40, 64 << 10, 1590000, 5001000, 256, 4 << 20},
    {80, 108, 163 << 10, 1410000, 1215000, 5120, 40 << 20},
    {86, 28, 99 << 10, 1777000, 7501000, 192, 3 << 20},
    {89, 128, 99 << 10, 2520000, 10501000, 384, 72 << 20},
    {90, 132, 227 << 10, 1980000, 2619000, 5120, 50 << 20},
    {100, 148, 227 << 10, 1965000, 3996000, 8192, 126 << 20},
    {120, 170, 99 << 10, 2407000, 14001000, 512, 96 << 20},
};

const Model &model_of(int device) {
  for (const Model &model : models)
    if (model.arch == configuration().archs[(size_t)device]) return model;
  return models[1];
}

struct ErrorName {
  int error;
  const char *name, *text;
};

const ErrorName error_names[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {716, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {903, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not initiated in this stream"},
    {904, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {905, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
     "dependency created on uncaptured work in another stream"},
    {906, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "operation would make the legacy stream depend on a capturing stream"},
    {907, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
    {908, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

const ErrorName *find_name(int error) {
  for (const ErrorName &known : error_names)
    if (known.error == error) return &known;
  return nullptr;
}

}  // namespace

Context *current_context() { return chosen && chosen->retained ? chosen : nullptr; }

int most_shared_bytes(int device) { return model_of(device).shared_bytes; }

int begin_call(const char *kind) {
  if (!initialised) return not_initialized;
  Context *context = current_context();
  if (!context) return invalid_context;
  if (context->error) return context->error;
  int error = injected(kind);
  if (error >= illegal_address && error < capture_unsupported) context->error = error;
  return error;
}

}  // namespace simulator

using namespace simulator;

CUDA_API(cuInit, unsigned flags) {
  std::lock_guard lock(state);
  if (flags != 0) return invalid_value;
  // While somebody uses a device it stays as it is.
  if (!any_retained()) configure();
  if (int error = injected("init")) return error;
  if (configuration().archs.empty()) return no_device;
  initialised = true;
  return success;
}

CUDA_API(cuDriverGetVersion, int *version) {
  if (!version) return invalid_value;
  *version = configuration().driver;
  return success;
}

CUDA_API(cuGetErrorName, tc_CUresult error, const char **name) {
  const ErrorName *known = find_name(error);
  if (!name) return invalid_value;
  *name = known ? known->name : nullptr;
  return known ? success : invalid_value;
}

CUDA_API(cuDeviceGetCount, int *count) {
  std::lock_guard lock(state);
  if (!initialised) return not_initialized;
  if (int error = injected("count")) return error;
  if (!count) return invalid_value;
  *count = (int)configuration().archs.size();
  return success;
}

CUDA_API(cuDeviceGet, tc_CUdevice *device, int ordinal) {
  std::lock_guard lock(state);
  if (!initialised) return not_initialized;
  if (int error = injected("device")) return error;
  if (!device) return invalid_value;
  if (!is_device(ordinal)) return invalid_device;
  *device = ordinal;
  return success;
}

CUDA_API(cuDeviceGetName, char *name, int length, tc_CUdevice device) {
  std::lock_guard lock(state);
  if (!initialised) return not_initialized;
  if (!is_device(device)) return invalid_device;
  if (!name || length <= 0) return invalid_value;
  snprintf(name, (size_t)length, "Simulated GPU (sm_%d)", configuration().archs[(size_t)device]);
  return success;
}

CUDA_API(cuDeviceGetAttribute, int *value, int attribute, tc_CUdevice device) {
  std::lock_guard lock(state);
  if (!initialised) return not_initialized;
  if (!is_device(device)) return invalid_device;
  if (!value) return invalid_value;
  const Model &model = model_of(device);
  int arch = configuration().archs[(size_t)device];
  // Numbers of CUdevice_attribute.
  switch (attribute) {
    case 1: *value = 1024; break;          // threads of a block
    case 2: case 3: *value = 1024; break;  // x and y of a block
    case 4: *value = 64; break;
    case 5: *value = 2147483647; break;  // x of a grid
    case 6: case 7: *value = 65535; break;
    case 8: *value = 48 << 10; break;  // shared memory without opting in
    case 10: *value = 32; break;       // lanes of a warp
    case 12: *value = 65536; break;    // registers of a block
    case TC_CUDA_CLOCK_KHZ: *value = model.clock_khz; break;
    case TC_CUDA_MULTIPROCESSORS: *value = model.multiprocessors; break;
    case TC_CUDA_MEMORY_CLOCK_KHZ: *value = model.memory_khz; break;
    case TC_CUDA_MEMORY_BUS_BITS: *value = model.bus_bits; break;
    case TC_CUDA_L2_BYTES: *value = model.l2_bytes; break;
    case 39: *value = arch == 75 ? 1024 : arch == 80 || arch >= 90 ? 2048 : 1536; break;  // threads of a multiprocessor
    case 41: *value = 1; break;                                                           // one address space
    case TC_CUDA_CAPABILITY_MAJOR: *value = arch / 10; break;
    case TC_CUDA_CAPABILITY_MINOR: *value = arch % 10; break;
    case 81: *value = model.shared_bytes + 1024; break;  // shared memory of a multiprocessor
    case TC_CUDA_SHARED_BYTES_OPTIN: *value = model.shared_bytes; break;
    default: return invalid_value;
  }
  return success;
}

CUDA_API(cuDeviceGetUuid_v2, tc_CUuuid *uuid, tc_CUdevice device) {
  std::lock_guard lock(state);
  if (!initialised) return not_initialized;
  if (!is_device(device)) return invalid_device;
  if (!uuid) return invalid_value;
  // A card of another make with each change of what kernels are compiled with: caches go by it.
  uint64_t make = tc_simulator_hash();
  memcpy(uuid->bytes, "SimGPU", 6);
  memcpy(uuid->bytes + 6, &make, sizeof make);
  uuid->bytes[14] = (char)configuration().archs[(size_t)device];
  uuid->bytes[15] = (char)device;
  return success;
}

CUDA_API(cuDeviceTotalMem_v2, size_t *bytes, tc_CUdevice device) {
  std::lock_guard lock(state);
  if (!initialised) return not_initialized;
  if (!is_device(device)) return invalid_device;
  if (!bytes) return invalid_value;
  *bytes = configuration().memory_bytes;
  return success;
}

CUDA_API(cuDevicePrimaryCtxRetain, tc_CUcontext *context, tc_CUdevice device) {
  std::lock_guard lock(state);
  if (!initialised) return not_initialized;
  if (!is_device(device)) return invalid_device;
  if (!context) return invalid_value;
  Context &primary = contexts[device];
  if (primary.error) return primary.error;
  if (int error = injected("context")) return error;
  const std::vector<int> &taken = configuration().taken;
  if (std::find(taken.begin(), taken.end(), device) != taken.end()) return device_unavailable;
  primary.device = device;
  primary.retained++;
  *context = (tc_CUcontext)&primary;
  return success;
}

CUDA_API(cuDevicePrimaryCtxRelease_v2, tc_CUdevice device) {
  std::unique_lock lock(state);
  if (!initialised) return not_initialized;
  if (!is_device(device)) return invalid_device;
  Context &context = contexts[device];
  if (!context.retained) return invalid_context;
  if (context.retained == 1) {
    // Whatever has been queued still runs, as it would; but not on a GPU that is lost.
    context.closing = true;
    drain(context, lock);
    context.closing = false;
    destroy_streams(context);
    memory().free_all(device);
    context.error = 0;
  }
  context.retained--;
  return success;
}

CUDA_API(cuCtxSetCurrent, tc_CUcontext context) {
  std::lock_guard lock(state);
  if (!initialised) return not_initialized;
  Context *next = (Context *)context;
  if (next && !(next >= contexts && next < contexts + most_devices && next->retained)) return invalid_context;
  chosen = next;
  return success;
}
