// Runs a launch: all blocks of a grid, on as many host threads as there are processors.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "device/machine.h"

namespace simulator {

struct Launch {
  const Kernel *kernel;
  std::string name;
  Index grid, block;
  size_t shared_bytes;
  std::vector<unsigned char> parameters;
  int device;
  bool overlaps = false;  // may begin before the kernel before it has ended
  uint64_t seed;
};

// A CUresult; where it is not 0, a line on standard error has said what and where.
int execute(const Launch &launch);

}  // namespace simulator
