// The device's headers, which the simulated NVRTC gives the compiler.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
struct tc_simulator_file {
  const char *name, *text;
  size_t size;
};
extern const struct tc_simulator_file tc_simulator_files[3];
// Of all that code of kernels depends on here, beside their sources.
uint64_t tc_simulator_hash(void);
#ifdef __cplusplus
}
#endif
