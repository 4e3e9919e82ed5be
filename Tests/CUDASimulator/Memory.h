// Memory of all simulated GPUs, and of the host where cuMemHostAlloc gave it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <shared_mutex>
#include <string>
#include <utility>

namespace simulator {

// Each allocation is a mapping of its own between two ranges that must not be touched, and ends as near to the later one
// as its alignment allows: so an access outside it faults. It starts as NaN in every floating-point type. What is freed
// stays untouchable for a while.
class Memory {
 public:
  static constexpr int host = -1;

  struct Allocation {
    uintptr_t base, bytes;
    uintptr_t mapping, mapping_bytes;
    int device;
  };

  // 0 where there is none left: all of a GPU's, or of the host's, counts against `limit`.
  uintptr_t allocate(size_t bytes, int device, size_t limit);
  // False where nothing begins at this address on this device.
  bool free(uintptr_t base, int device);
  void free_all(int device);
  size_t used(int device);

  // The allocation that all of these bytes lie in, of this device or of the host; false where there is none.
  bool find(uintptr_t address, size_t bytes, int device, Allocation *found);
  bool is_host(uintptr_t address, size_t bytes);
  // Where an address lies, for a person: "16 bytes behind the 256 bytes at 0x7f...".
  std::string describe(uintptr_t address);

 private:
  void retire(const Allocation &allocation);

  std::shared_mutex mutex;
  std::map<uintptr_t, Allocation> live;  // by base
  std::map<int, size_t> totals;          // by device
  std::deque<std::pair<uintptr_t, uintptr_t>> freed;
  uintptr_t freed_bytes = 0;
};

Memory &memory();

}  // namespace simulator
