// What the simulated NVRTC makes and the simulated driver loads in the place of a CUBIN: a header, then a shared library.
#pragma once
#include <cstddef>
#include <cstdint>

namespace simulator {

struct ImageHeader {
  char magic[8];
  uint32_t arch;      // 80 for sm_80
  uint32_t portable;  // 1: "PTX", for this and later architectures
  uint64_t version;   // of the CUDA that made it: 12040 for 12.4
  uint64_t bytes;     // of the library
  uint64_t hash;      // FNV-1a of it
};

constexpr char image_magic[8] = {'T', 'C', 'S', 'I', 'M', '0', '0', '2'};

inline uint64_t image_hash(const char *bytes, size_t count) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < count; i++) hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3;
  return hash;
}

}  // namespace simulator
