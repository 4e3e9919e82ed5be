// What the simulator and a compiled kernel both know: how a block lies in memory, and what the kernel may call.
//
// Each CUDA thread is a fiber. A host thread that runs blocks has one region of memory, aligned to its own size: the
// block's state first, then the fibers' stacks. So a kernel finds its block and its thread's number in its stack
// pointer: no thread-local storage, and nothing that must be set at each of millions of switches.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace simulator {

constexpr unsigned most_threads = 1024, warp_size = 32, most_warps = most_threads / warp_size;
constexpr uintptr_t stack_bytes = 64 << 10;
constexpr uintptr_t stacks_bytes = most_threads * stack_bytes;
// The lower half holds the block's state, the upper half the stacks.
constexpr uintptr_t region_bytes = 2 * stacks_bytes;

struct Index {
  unsigned x, y, z;
};

// What the lanes of a warp do together. All must do the same.
enum class Operation : uint32_t {
  sync,
  shuffle,
  load_matrix,
  multiply,
  multiply_warpgroup,
  commit_warpgroup,
  wait_warpgroup,
};

// Lanes exchange values here. Each writes only its own slots and reads only its own slots; the lane that arrives last
// does the work for all. So a lane that runs ahead to the next operation spoils nothing.
struct alignas(64) Warp {
  uint32_t members;   // its lanes: all 32 but in a block's last warp
  uint32_t ready;     // lanes that can run
  uint32_t arrived;   // lanes that wait for the others at a warp operation
  uint32_t stopped;   // lanes that wait at sync_threads
  uint32_t finished;  // lanes that have returned
  uint32_t awaited;   // lanes that waited for the kernel before
  Operation operation;
  // Fragments lie register by register, so that eight rows of eight elements lie together: mma of 8x8 blocks needs no
  // sorting.
  alignas(64) uint32_t a[4][warp_size];
  alignas(64) uint32_t b[2][warp_size];
  alignas(64) float c[2][2 * warp_size];
  alignas(64) const void *rows[warp_size];
  alignas(64) uint32_t matrices[4][warp_size];
  alignas(64) float given[warp_size], taken[warp_size];
  uint32_t masks[warp_size];
};

// A warp's share of a warpgroup's product that is under way.
struct WarpProduct {
  float *sums[warp_size];  // of each lane
  const unsigned char *a, *b;
  void (*run)(const WarpProduct &product, unsigned warp);
};

// Those of one warp, oldest first. `ends` are the ends of the committed groups.
struct WarpProducts {
  static constexpr unsigned most = 64;
  unsigned count, groups;
  uint64_t issued;
  unsigned ends[most];
  WarpProduct at[most];
};

// What the warps of a warpgroup multiplied, by number + 1, to hold them against each other.
struct WarpgroupRecord {
  static constexpr unsigned size = 64;
  uint64_t number[size], what[size];
};

// What cuTensorMapEncodeTiled writes into 128 bytes.
struct TensorMap {
  static constexpr uint64_t right_magic = 0x74757262636d6170;
  uint64_t magic;
  uintptr_t base;
  uint64_t sizes[3];    // elements, innermost first
  uint64_t strides[2];  // bytes
  uint32_t box[3];
  uint32_t element_bytes, swizzle;
};

struct Block;

// What a kernel calls. A table, because the simulator's own symbols are not visible to it where the program has opened
// the simulator with RTLD_LOCAL.
struct Machine {
  // Saves the running fiber's stack pointer and goes on with another fiber.
  void (*switch_fiber)(void **save, void *load);
  // Runs others until this thread is ready again; for a thread whose warp has no lane that is ready.
  void (*wait)(Block *block, unsigned thread);
  void (*sync_threads)(Block *block, unsigned thread);
  // Ends the launch with a CUresult. Does not return.
  void (*fail)(Block *block, unsigned thread, int error, const char *message);
  void (*copy_async16)(Block *block, unsigned thread, void *shared, const void *global, bool valid);
  void (*copy_commit)(Block *block, unsigned thread);
  void (*copy_wait)(Block *block, unsigned thread, unsigned groups);
  void (*barrier_make)(Block *block, unsigned thread, void *barrier, int arrivals);
  // Arrives, and has the phase wait for so many bytes more.
  void (*barrier_arrive)(Block *block, unsigned thread, void *barrier, int bytes);
  void (*barrier_wait)(Block *block, unsigned thread, void *barrier, int parity);
  void (*load_box)(Block *block, unsigned thread, void *shared, const void *map, const int *at, void *barrier);
};

struct Block {
  const Machine *machine;
  unsigned char *shared;
  size_t shared_bytes;
  Index index, size, grid;
  unsigned threads;
  Index thread_index[most_threads];
  void *stack_pointers[most_threads];
  Warp warps[most_warps];
  WarpProducts products[most_warps];
  WarpgroupRecord records[most_warps / 4];
};

// One kernel of a module: exported as `<name>_kernel`.
struct Kernel {
  void (*run)(const void *parameters);
  size_t parameter_bytes;
  unsigned most_threads;  // its launch bound
};

inline __attribute__((always_inline)) uintptr_t stack_pointer() {
  uintptr_t pointer;
  // Not volatile: what is made of it below is the same everywhere in a fiber, so it may be kept.
#if defined(__x86_64__)
  asm("mov %%rsp, %0" : "=r"(pointer));
#elif defined(__aarch64__)
  asm("mov %0, sp" : "=r"(pointer));
#else
#error "The simulator knows x86-64 and aarch64"
#endif
  return pointer;
}

inline __attribute__((always_inline)) Block &current_block() {
  return *(Block *)(stack_pointer() & ~(region_bytes - 1));
}
inline __attribute__((always_inline)) unsigned current_thread() {
  return (unsigned)(stack_pointer() / stack_bytes) % most_threads;
}

}  // namespace simulator
