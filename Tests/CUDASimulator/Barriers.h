// Barriers in a block's shared memory (PTX ISA, mbarrier), and boxes of tensors on their way to them.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "device/machine.h"

namespace simulator {

class Barriers {
 public:
  struct Box {
    TensorMap map;
    int at[3];
    unsigned char *to;
    uintptr_t barrier;
    uint32_t bytes() const { return map.box[0] * map.box[1] * map.box[2] * map.element_bytes; }
  };

  void clear();
  // Those that give a text have found a mistake; null: all is well. A barrier is known by its address.
  const char *make(uintptr_t barrier, int arrivals);
  const char *arrive(uintptr_t barrier, int bytes, Block &block);
  const char *check(uintptr_t barrier) const;
  // Whether the phase of this parity has ended; where not, the thread is woken when it ends.
  bool has_ended(uintptr_t barrier, int parity, unsigned thread);
  // Comes at any time from here on.
  void bring(const Box &box) { under_way.push_back(box); }
  bool is_empty() const { return under_way.empty(); }
  // Lets one come, the so-manieth modulo their number.
  void land(uint64_t which, Block &block);

 private:
  struct State {
    unsigned arrivals, pending;
    long long bytes = 0;
    unsigned phase = 0;
    std::vector<unsigned> waiting;
  };
  std::map<uintptr_t, State> states;
  std::vector<Box> under_way;

  void finish(State &state, Block &block);
};

}  // namespace simulator
