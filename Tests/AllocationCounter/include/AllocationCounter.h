#pragma once

/// Allocations of all threads since `allocations_begin`, by who asked. Other tests allocate too, so whoever counts does
/// it in a process of its own (an exit test).
typedef struct {
  /// By the program and the Swift runtime.
  long own;
  /// By oneDNN (through libstdc++ and libgomp too), whose C interface builds an argument table at every call.
  long library;
  /// Blocks asked for and not yet given back, whoever asked.
  long kept;
} allocation_counts;

void allocations_begin(void);
allocation_counts allocations_end(void);
