#include "Worker.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace simulator {

thread_local Worker *current = nullptr;
std::atomic<int> first_error{0};
char last_report[480];

unsigned char *SharedMemory::prepare(size_t bytes) {
  size_t pages = (bytes + page - 1) / page * page;
  if (pages > capacity) {
    if (mapping) munmap(mapping, capacity + 2 * page);
    capacity = pages;
    mapping = (unsigned char *)mmap(nullptr, capacity + 2 * page, PROT_NONE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mprotect(mapping + page, capacity, PROT_READ | PROT_WRITE);
  }
  // 128-byte alignment is what SHARED promises.
  unsigned char *end = mapping ? mapping + page + capacity : nullptr;
  return bytes == 0 ? end : (unsigned char *)((uintptr_t)(end - bytes) & ~(uintptr_t)127);
}

void Worker::report(unsigned thread, int code, const char *what) {
  error = code;
  int none = 0;
  if (!first_error.compare_exchange_strong(none, code)) return;
  const Index &index = block().index, &lane = block().thread_index[thread];
  snprintf(last_report, sizeof last_report, "%s, block (%u, %u, %u), thread (%u, %u, %u): %s", launch->name.c_str(),
           index.x, index.y, index.z, lane.x, lane.y, lane.z, what);
  fprintf(stderr, "CUDA simulator: %s\n", last_report);
}

// No thread can run, but not all have returned.
void Worker::report_stuck() {
  unsigned operation = 0, first = most_threads, example = 0;
  for (unsigned i = 0; i < block().threads; i++) {
    const Warp &warp = block().warps[i / warp_size];
    uint32_t bit = 1u << i % warp_size;
    if (warp.finished & bit) continue;
    if (warp.arrived & bit) {
      operation++;
      example = i;
    } else if (first == most_threads) {
      first = i;
    }
  }
  char text[200];
  snprintf(text, sizeof text,
           "divergent barrier: %u threads wait at sync_threads, %u at a warp operation, %u at a barrier of their own, "
           "%u have returned",
           stopped, operation, block().threads - stopped - operation - finished, finished);
  report(first == most_threads ? example : first, fault_of_launch, text);
}

bool Worker::is_live(uintptr_t address, size_t bytes) {
  for (const Memory::Allocation &known : recent)
    if (address - known.base < known.bytes && known.bytes - (address - known.base) >= bytes) return true;
  Memory::Allocation found;
  if (!memory().find(address, bytes, launch->device, &found)) return false;
  recent[oldest++ % 4] = found;
  return true;
}

// Saves this fiber and goes on with a thread that can run, of any warp. False where there is none.
bool Worker::start_another(void **save, unsigned self) {
  unsigned warps = (block().threads + warp_size - 1) / warp_size;
  unsigned offset = random.below(warps);
  for (unsigned i = 0; i < warps; i++) {
    unsigned number = (offset + i) % warps;
    uint32_t ready = block().warps[number].ready;
    if (!ready) continue;
    unsigned turn = random.below(warp_size);
    uint32_t turned = ready >> turn | ready << (-turn & 31);
    unsigned lane = (turn + (unsigned)__builtin_ctz(turned)) % warp_size;
    unsigned thread = number * warp_size + lane;
    if (thread != self) tc_simulator_switch(save, block().stack_pointers[thread]);
    return true;
  }
  return false;
}

void Worker::run_others(unsigned thread) {
  void **save = &block().stack_pointers[thread];
  if (start_another(save, thread)) return;
  // Boxes mostly come as late as can be.
  while (!barriers.is_empty()) {
    barriers.land(random.next(), block());
    if (start_another(save, thread)) return;
  }
  report_stuck();
  tc_simulator_switch(save, scheduler);
}

// Where each fiber begins.
static void run_thread() {
  Worker &worker = *current;
  Block &block = worker.block();
  // The kernel leaves nothing behind on its stack, so that this frame may be left for good.
  unsigned thread = (unsigned)worker.region.thread_of((uintptr_t)__builtin_frame_address(0));
  worker.launch->kernel->run(worker.launch->parameters.data());
  Warp &warp = block.warps[thread / warp_size];
  uint32_t bit = 1u << thread % warp_size;
  if (worker.launch->overlaps && !(warp.awaited & bit))
    machine.fail(&block, thread, fault_of_launch, "may run before the kernel before it has finished, and does not wait for it");
  warp.finished |= bit;
  warp.ready &= ~bit;
  void **save = &block.stack_pointers[thread];
  if (++worker.finished == block.threads) tc_simulator_switch(save, worker.scheduler);
  if (warp.ready) {
    unsigned next = (unsigned)__builtin_ctz(warp.ready);
    tc_simulator_switch(save, block.stack_pointers[thread / warp_size * warp_size + next]);
  }
  worker.run_others(thread);
}

void Worker::run_block(uint64_t number) {
  Block &block = this->block();
  const Index &grid = launch->grid;
  random.state = launch->seed ^ (number + 1) * 0xd1342543de82ef95;
  block.index = {(unsigned)(number % grid.x), (unsigned)(number / grid.x % grid.y),
                 (unsigned)(number / grid.x / grid.y)};
  finished = stopped = 0;
  if (launch->shared_bytes) memset(block.shared, 0xff, launch->shared_bytes);
  for (unsigned i = 0; i < block.threads; i++) {
    block.stack_pointers[i] = region.start(i, run_thread);
    copies[i].clear();
  }
  for (unsigned i = 0; i * warp_size < block.threads; i++) {
    Warp &warp = block.warps[i];
    unsigned lanes = std::min(warp_size, block.threads - i * warp_size);
    warp.members = warp.ready = lanes == 32 ? ~0u : (1u << lanes) - 1;
    warp.arrived = warp.stopped = warp.finished = warp.awaited = 0;
    WarpProducts &products = block.products[i];
    products.count = products.groups = 0;
    products.issued = 0;
  }
  for (unsigned i = 0; i * 128 < block.threads; i++) block.records[i] = {};
  barriers.clear();
  // Comes back when all have finished, or at a failure; fibers that wait are then simply left.
  start_another(&scheduler, most_threads);
  if (error == 0 && !barriers.is_empty()) report(0, fault_of_launch, "has ended before a box has come that it asked for");
  for (unsigned i = 0; error == 0 && i * warp_size < block.threads; i++)
    if (block.products[i].count)
      report(i * warp_size, fault_of_launch, "has ended before a warpgroup's products have, which nobody waited for");
}

}  // namespace simulator
