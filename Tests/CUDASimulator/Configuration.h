// What the environment says, see include/CUDASimulator.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace simulator {

struct Configuration {
  std::vector<int> archs;  // one a GPU: 80 for 8.0
  int driver;
  int nvrtc;
  size_t memory_bytes, host_bytes;
  std::vector<int> taken;  // GPUs that another process has to itself
  uint64_t seed;
  unsigned threads;
};

const Configuration &configuration();
// Reads the environment again, and counts calls from the beginning.
void configure();

// An error that TURBOCAM_SIMULATOR_FAULT puts in the place of this call; 0 where it gives none.
int injected(const char *call);

}  // namespace simulator
