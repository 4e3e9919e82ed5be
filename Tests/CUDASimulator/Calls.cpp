// What kernels call.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "Worker.h"

namespace simulator {
namespace {

void land(const Copy &copy) {
  if (copy.from)
    memcpy(copy.to, copy.from, 16);
  else
    memset(copy.to, 0, 16);
}

void wait(Block *, unsigned thread) { current->run_others(thread); }

void sync_threads(Block *block, unsigned thread) {
  Worker &worker = *current;
  Warp &warp = block->warps[thread / warp_size];
  uint32_t bit = 1u << thread % warp_size;
  warp.stopped |= bit;
  warp.ready &= ~bit;
  if (++worker.stopped == block->threads) {
    worker.stopped = 0;
    for (unsigned i = 0; i * warp_size < block->threads; i++) {
      block->warps[i].stopped = 0;
      block->warps[i].ready = block->warps[i].members;
    }
  }
  worker.run_others(thread);
}

void fail(Block *block, unsigned thread, int error, const char *message) {
  current->report(thread, error, message);
  tc_simulator_switch(&block->stack_pointers[thread], current->scheduler);
}

void copy_async16(Block *block, unsigned thread, void *shared, const void *global, bool valid) {
  Worker &worker = *current;
  uintptr_t to = (uintptr_t)shared - (uintptr_t)block->shared;
  if (to % 16 != 0 || (uintptr_t)global % 16 != 0)
    fail(block, thread, fault_of_alignment, "an asynchronous copy is not 16-byte aligned");
  if (to > block->shared_bytes || block->shared_bytes - to < 16)
    fail(block, thread, fault_of_address, "an asynchronous copy goes outside shared memory");
  if (valid && !worker.is_live((uintptr_t)global, 16)) {
    std::string where = memory().describe((uintptr_t)global);
    char text[240];
    snprintf(text, sizeof text, "an asynchronous copy reads 0x%zx: %s", (size_t)global, where.c_str());
    fail(block, thread, fault_of_address, text);
  }
  Copy copy{shared, valid ? global : nullptr};
  // A copy may land at any time until its wait. Most land as late as can be, which shows a missing wait; some at once,
  // which shows a copy over what others still read.
  if (worker.random.next() >> 61 == 0) land(copy);
  worker.copies[thread].copies.push_back(copy);
}

void copy_commit(Block *, unsigned thread) {
  Copies &copies = current->copies[thread];
  copies.ends.push_back(copies.copies.size());
}

void copy_wait(Block *, unsigned thread, unsigned groups) {
  Copies &under_way = current->copies[thread];
  if (under_way.ends.size() <= groups) return;
  size_t done = under_way.ends.size() - groups, end = under_way.ends[done - 1];
  for (size_t i = 0; i < end; i++) land(under_way.copies[i]);
  under_way.copies.erase(under_way.copies.begin(), under_way.copies.begin() + (long)end);
  under_way.ends.erase(under_way.ends.begin(), under_way.ends.begin() + (long)done);
  for (size_t &later : under_way.ends) later -= end;
}

void check(Block *block, unsigned thread, const char *mistake) {
  if (mistake) fail(block, thread, fault_of_launch, mistake);
}

void check_barrier(Block *block, unsigned thread, void *barrier) {
  uintptr_t at = (uintptr_t)barrier - (uintptr_t)block->shared;
  if (at % 8 != 0) fail(block, thread, fault_of_alignment, "a barrier is not 8-byte aligned");
  if (at > block->shared_bytes || block->shared_bytes - at < 8)
    fail(block, thread, fault_of_address, "a barrier lies outside shared memory");
}

void barrier_make(Block *block, unsigned thread, void *barrier, int arrivals) {
  check_barrier(block, thread, barrier);
  check(block, thread, current->barriers.make((uintptr_t)barrier, arrivals));
}

void barrier_arrive(Block *block, unsigned thread, void *barrier, int bytes) {
  check_barrier(block, thread, barrier);
  Worker &worker = *current;
  check(block, thread, worker.barriers.arrive((uintptr_t)barrier, bytes, *block));
  // Who was woken may be quicker than who woke.
  if (worker.random.next() >> 63) worker.start_another(&block->stack_pointers[thread], thread);
}

void barrier_wait(Block *block, unsigned thread, void *barrier, int parity) {
  Worker &worker = *current;
  check_barrier(block, thread, barrier);
  check(block, thread, worker.barriers.check((uintptr_t)barrier));
  while (!worker.barriers.has_ended((uintptr_t)barrier, parity, thread)) {
    block->warps[thread / warp_size].ready &= ~(1u << thread % warp_size);
    worker.run_others(thread);
  }
}

// The parts of a box that lie inside the tensor are there to be read.
bool is_live(Worker &worker, const Barriers::Box &box) {
  const TensorMap &map = box.map;
  long long first[3], end[3];
  for (int d = 0; d < 3; d++) {
    first[d] = std::max(0ll, (long long)box.at[d]);
    end[d] = std::min((long long)map.sizes[d], (long long)box.at[d] + map.box[d]);
    if (first[d] >= end[d]) return true;
  }
  for (long long z = first[2]; z < end[2]; z++)
    for (long long y = first[1]; y < end[1]; y++) {
      uintptr_t from = map.base + (uintptr_t)first[0] * map.element_bytes + (uintptr_t)y * map.strides[0] +
                       (uintptr_t)z * map.strides[1];
      if (!worker.is_live(from, (size_t)(end[0] - first[0]) * map.element_bytes)) return false;
    }
  return true;
}

void load_box(Block *block, unsigned thread, void *shared, const void *map, const int *at, void *barrier) {
  Worker &worker = *current;
  check_barrier(block, thread, barrier);
  check(block, thread, worker.barriers.check((uintptr_t)barrier));
  if ((uintptr_t)map % 64 != 0) fail(block, thread, fault_of_alignment, "a tensor map is not 64-byte aligned");
  Barriers::Box box;
  memcpy(&box.map, map, sizeof box.map);
  if (box.map.magic != TensorMap::right_magic) fail(block, thread, fault_of_launch, "there is no tensor map");
  memcpy(box.at, at, sizeof box.at);
  box.to = (unsigned char *)shared;
  box.barrier = (uintptr_t)barrier;
  uintptr_t to = (uintptr_t)shared - (uintptr_t)block->shared;
  if ((uintptr_t)shared % (box.map.swizzle ? 1024 : 128) != 0)
    fail(block, thread, fault_of_alignment, "a box's place in shared memory is not aligned");
  if (to > block->shared_bytes || block->shared_bytes - to < box.bytes())
    fail(block, thread, fault_of_address, "a box goes outside shared memory");
  if (!is_live(worker, box)) fail(block, thread, fault_of_address, "a box reads outside of what was allocated");
  worker.barriers.bring(box);
  if (worker.random.next() >> 62 == 0) worker.barriers.land(worker.random.next(), *block);
}

}  // namespace

const Machine machine = {tc_simulator_switch, wait,         sync_threads,   fail,         copy_async16, copy_commit,
                         copy_wait,           barrier_make, barrier_arrive, barrier_wait, load_box};

}  // namespace simulator
