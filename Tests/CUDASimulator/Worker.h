// What a host thread needs that runs blocks: their fibers, their memory, and what is under way in them.
#pragma once
#include <setjmp.h>
#include <signal.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "Barriers.h"
#include "Execution.h"
#include "Fibers.h"
#include "Memory.h"

namespace simulator {

constexpr int fault_of_address = 700, fault_of_alignment = 716, fault_of_launch = 719;

struct Copy {
  void *to;
  const void *from;  // null: zeros
};

// Asynchronous copies of one thread that are under way, oldest first. `ends` are the ends of the committed groups.
struct Copies {
  std::vector<Copy> copies;
  std::vector<size_t> ends;

  void clear() {
    copies.clear();
    ends.clear();
  }
};

// SplitMix64 (Steele, Lea, Flood 2014).
struct Random {
  uint64_t state;
  uint64_t next() {
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  unsigned below(unsigned count) { return (unsigned)(next() >> 32) % count; }
};

// Dynamic shared memory, which ends at a page that must not be touched.
class SharedMemory {
 public:
  static constexpr uintptr_t page = 4096;
  unsigned char *prepare(size_t bytes);

 private:
  unsigned char *mapping = nullptr;
  size_t capacity = 0;
};

struct Worker {
  Region region;
  SharedMemory shared;
  std::vector<Copies> copies = std::vector<Copies>(most_threads);
  Barriers barriers;
  void *scheduler = nullptr;
  const Launch *launch = nullptr;
  Random random{0};
  unsigned finished = 0, stopped = 0;
  int error = 0;
  // Where a fault in a kernel comes back to, once `inside` is set.
  sigjmp_buf escape;
  volatile sig_atomic_t inside = 0;
  // Where the last copies came from: most copies of a block come from two or three allocations.
  Memory::Allocation recent[4] = {};
  unsigned oldest = 0;

  Block &block() { return region.block(); }
  bool is_live(uintptr_t address, size_t bytes);
  void run_block(uint64_t number);
  void run_others(unsigned thread);
  bool start_another(void **save, unsigned self);
  void report_stuck();
  void report(unsigned thread, int code, const char *what);
};

// The worker of this host thread, for the signal handler and for what kernels call.
extern thread_local Worker *current;

// The first error of a launch, and what was said of it: reports of different workers must not run into each other.
extern std::atomic<int> first_error;
extern char last_report[480];

extern const Machine machine;

}  // namespace simulator
