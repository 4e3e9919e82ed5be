// Fibers: a stack each, and a switch that saves what a function call must keep.
#pragma once
#include "device/machine.h"

namespace simulator {

// Memory of one host thread that runs blocks, see machine.h. Stacks keep their pages from block to block.
class Region {
 public:
  Region();
  Region(const Region &) = delete;

  bool usable() const { return base != 0; }
  Block &block() const { return *(Block *)base; }
  // Makes a fiber that starts in `entry`, which never returns, and gives its stack pointer.
  void *start(unsigned thread, void (*entry)());
  // The thread whose stack an address lies in, and whether it lies in that stack's guard; -1 for other addresses.
  int thread_of(uintptr_t address) const;
  bool is_guard(uintptr_t address) const;

 private:
  uintptr_t base = 0;
  unsigned guarded = 0;  // stacks whose guard page is set
};

extern "C" void tc_simulator_switch(void **save, void *load);

}  // namespace simulator
