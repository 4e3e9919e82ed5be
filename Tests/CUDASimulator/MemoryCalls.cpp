// The driver's calls about memory.
#include <cstring>

#include "Configuration.h"
#include "Memory.h"
#include "Streams.h"

using namespace simulator;

namespace {

// Does `work` in a stream where a range of device memory is all inside one allocation.
int submit_range(tc_CUstream handle, tc_CUdeviceptr address, size_t bytes, Action work) {
  std::shared_ptr<Stream> stream = find_stream(handle);
  if (!stream) return invalid_handle;
  if (bytes == 0) return success;
  int device = stream->context->device;
  if (!memory().find(address, bytes, device, nullptr)) return invalid_value;
  return submit(stream, [=, work = std::move(work)] {
    // It may have been freed since.
    return memory().find(address, bytes, device, nullptr) ? work() : (int)illegal_address;
  });
}

}  // namespace

CUDA_API(cuMemGetInfo_v2, size_t *free, size_t *total) {
  BEGIN("info");
  if (!free || !total) return invalid_value;
  *total = configuration().memory_bytes;
  *free = *total - memory().used(current_context()->device);
  return success;
}

CUDA_API(cuMemAlloc_v2, tc_CUdeviceptr *address, size_t bytes) {
  BEGIN("alloc");
  if (int refused = refuse_in_capture()) return refused;
  if (!address || bytes == 0) return invalid_value;
  *address = memory().allocate(bytes, current_context()->device, configuration().memory_bytes);
  return *address ? success : out_of_memory;
}

// Waits for all work of the GPU, as the real one does.
CUDA_API(cuMemFree_v2, tc_CUdeviceptr address) {
  BEGIN("free");
  if (int refused = refuse_in_capture()) return refused;
  if (address == 0) return success;
  Context &context = *current_context();
  int error = drain(context, lock);
  if (!memory().free(address, context.device)) return invalid_value;
  return error;
}

CUDA_API(cuMemHostAlloc, void **pointer, size_t bytes, unsigned) {
  BEGIN("host");
  if (int refused = refuse_in_capture()) return refused;
  if (!pointer || bytes == 0) return invalid_value;
  *pointer = (void *)memory().allocate(bytes, Memory::host, configuration().host_bytes);
  return *pointer ? success : out_of_memory;
}

CUDA_API(cuMemFreeHost, void *pointer) {
  BEGIN("free");
  if (int refused = refuse_in_capture()) return refused;
  if (!pointer) return success;
  int error = drain(*current_context(), lock);
  if (!memory().free((uintptr_t)pointer, Memory::host)) return invalid_value;
  return error;
}

CUDA_API(cuMemcpyHtoDAsync_v2, tc_CUdeviceptr to, const void *from, size_t bytes, tc_CUstream handle) {
  BEGIN("copy");
  std::shared_ptr<Stream> stream = find_stream(handle);
  if (!stream) return invalid_handle;
  if (bytes && !from) return invalid_value;
  // Page-locked memory is read when the copy runs, and so is what a graph copies. Other memory is the caller's own
  // again when the call returns: the driver takes a copy of it.
  if (stream->capture || memory().is_host((uintptr_t)from, bytes))
    return submit_range(handle, to, bytes, [=] { return memcpy((void *)to, from, bytes), 0; });
  auto copy = std::make_shared<std::vector<char>>((const char *)from, (const char *)from + bytes);
  return submit_range(handle, to, bytes, [=] { return memcpy((void *)to, copy->data(), bytes), 0; });
}

CUDA_API(cuMemcpyDtoHAsync_v2, void *to, tc_CUdeviceptr from, size_t bytes, tc_CUstream handle) {
  BEGIN("copy");
  if (bytes && !to) return invalid_value;
  const Context *context = current_context();
  bool locked = memory().is_host((uintptr_t)to, bytes);
  return submit_range(handle, from, bytes, [=] {
    // Nobody has waited for this copy, and ordinary memory may be somebody else's by now.
    if (locked || !context->closing) memcpy(to, (const void *)from, bytes);
    return 0;
  });
}

CUDA_API(cuMemcpyDtoDAsync_v2, tc_CUdeviceptr to, tc_CUdeviceptr from, size_t bytes, tc_CUstream handle) {
  BEGIN("copy");
  int device = current_context()->device;
  if (bytes && !memory().find(from, bytes, device, nullptr)) return invalid_value;
  return submit_range(handle, to, bytes, [=] {
    if (!memory().find(from, bytes, device, nullptr)) return (int)illegal_address;
    memmove((void *)to, (const void *)from, bytes);
    return 0;
  });
}

CUDA_API(cuMemsetD8Async, tc_CUdeviceptr to, unsigned char value, size_t count, tc_CUstream handle) {
  BEGIN("copy");
  return submit_range(handle, to, count, [=] { return memset((void *)to, value, count), 0; });
}
