// What all entry points need: exported names whose types are those that the backend declares, and results.
#pragma once
#include <type_traits>

#include "driver.h"

// Defines an entry point of the driver: CUDA_API(cuInit, unsigned flags) { ... }
#define CUDA_API(name, ...)                                                                              \
  extern "C" __attribute__((visibility("default"))) tc_CUresult name(__VA_ARGS__);                       \
  static_assert(std::is_same<decltype(&name), tc_##name>::value, "not what driver.h declares");          \
  tc_CUresult name(__VA_ARGS__)

namespace simulator {

enum Result {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  device_unavailable = 46,
  no_device = 100,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  no_binary_for_gpu = 209,
  unsupported_ptx_version = 222,
  invalid_handle = 400,
  not_found = 500,
  not_ready = 600,
  illegal_address = 700,
  misaligned_address = 716,
  launch_failed = 719,
  operation_unsupported = 801,
  capture_unsupported = 900,
  capture_invalidated = 901,
  capture_unmatched = 903,
  capture_unjoined = 904,
  capture_isolation = 905,
  capture_implicit = 906,
  captured_event = 907,
  capture_wrong_thread = 908,
};

}  // namespace simulator
