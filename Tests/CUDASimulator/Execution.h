// Runs a launch: all blocks of a grid, on as many host threads as there are processors.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "device/machine.h"

namespace simulator {

// Parameters lie at a multiple of 64 bytes, as tensor maps among them have to.
struct alignas(64) ParameterLine {
  unsigned char bytes[64];
};

struct Launch {
  const Kernel *kernel;
  std::string name;
  Index grid, block;
  size_t shared_bytes;
  std::vector<ParameterLine> parameters;
  int device;
  bool overlaps = false;  // may begin before the kernel before it has ended
  uint64_t seed;
};

// A CUresult; where it is not 0, a line on standard error has said what and where.
int execute(const Launch &launch);

}  // namespace simulator
