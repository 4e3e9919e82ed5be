// Primary contexts, one a GPU.
#pragma once
#include <memory>
#include <mutex>

#include "API.h"

namespace simulator {

struct Context {
  int device;
  unsigned retained = 0;
  // An error of a kernel that stays: every later call gives it, until the context is released.
  int error = 0;
  bool closing = false;  // its last holder has let it go
};

// Guards all state but memory's. Held shortly: not while a kernel runs.
extern std::mutex state;

// The calling thread's context; null where it has none that is retained.
Context *current_context();

// Shared memory that a block may have where its function opts in.
int most_shared_bytes(int device);

// What nearly every call begins with: an error that stays, one that the environment wants, or no context.
// `state` is held.
int begin_call(const char *kind);

}  // namespace simulator

// Returns from an entry point where the call cannot begin; else holds `state`.
#define BEGIN(kind)                                                            \
  std::unique_lock<std::mutex> lock(simulator::state);                         \
  if (int refused = simulator::begin_call(kind)) return refused
