#include "Execution.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "CUDASimulator.h"
#include "Configuration.h"
#include "Fibers.h"
#include "Memory.h"

namespace simulator {
namespace {

constexpr int illegal_address = 700, misaligned_address = 716, launch_failed = 719;
constexpr uintptr_t page = 4096;

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

void land(const Copy &copy) {
  if (copy.from)
    memcpy(copy.to, copy.from, 16);
  else
    memset(copy.to, 0, 16);
}

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
  unsigned char *prepare(size_t bytes) {
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

 private:
  unsigned char *mapping = nullptr;
  size_t capacity = 0;
};

struct Worker {
  Region region;
  SharedMemory shared;
  std::vector<Copies> copies = std::vector<Copies>(most_threads);
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
thread_local Worker *current = nullptr;

// Reports of different workers must not run into each other, and the first is enough.
std::atomic<int> first_error{0};
char last_report[480];

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
           "divergent barrier: %u threads wait at sync_threads, %u at a warp operation, %u have returned", stopped,
           operation, finished);
  report(first == most_threads ? example : first, launch_failed, text);
}

bool Worker::is_live(uintptr_t address, size_t bytes) {
  for (const Memory::Allocation &known : recent)
    if (address - known.base < known.bytes && known.bytes - (address - known.base) >= bytes) return true;
  Memory::Allocation found;
  if (!memory().find(address, bytes, launch->device, &found)) return false;
  recent[oldest++ % 4] = found;
  return true;
}

// MARK: What kernels call

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
  report_stuck();
  tc_simulator_switch(save, scheduler);
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
    fail(block, thread, misaligned_address, "an asynchronous copy is not 16-byte aligned");
  if (to > block->shared_bytes || block->shared_bytes - to < 16)
    fail(block, thread, illegal_address, "an asynchronous copy goes outside shared memory");
  if (valid && !worker.is_live((uintptr_t)global, 16)) {
    std::string where = memory().describe((uintptr_t)global);
    char text[240];
    snprintf(text, sizeof text, "an asynchronous copy reads 0x%zx: %s", (size_t)global, where.c_str());
    fail(block, thread, illegal_address, text);
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

const Machine machine = {tc_simulator_switch, wait, sync_threads, fail, copy_async16, copy_commit, copy_wait};

// MARK: Blocks

// Where each fiber begins.
void run_thread() {
  Worker &worker = *current;
  Block &block = worker.block();
  // The kernel leaves nothing behind on its stack, so that this frame may be left for good.
  unsigned thread = (unsigned)worker.region.thread_of((uintptr_t)__builtin_frame_address(0));
  worker.launch->kernel->run(worker.launch->parameters.data());
  Warp &warp = block.warps[thread / warp_size];
  uint32_t bit = 1u << thread % warp_size;
  if (worker.launch->overlaps && !(warp.awaited & bit))
    fail(&block, thread, launch_failed, "may run before the kernel before it has finished, and does not wait for it");
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
  }
  // Comes back when all have finished, or at a failure; fibers that wait are then simply left.
  start_another(&scheduler, most_threads);
}

// MARK: Faults

struct sigaction former[NSIG];

uintptr_t stack_pointer_of(void *context) {
#if defined(__x86_64__)
  return (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RSP];
#else
  return (uintptr_t)((ucontext_t *)context)->uc_mcontext.sp;
#endif
}

// Whoever handled this signal before gets what is not ours.
void pass_on(int signal, siginfo_t *info, void *context) {
  const struct sigaction &other = former[signal];
  if (other.sa_flags & SA_SIGINFO) {
    other.sa_sigaction(signal, info, context);
  } else if (other.sa_handler != SIG_DFL && other.sa_handler != SIG_IGN) {
    other.sa_handler(signal);
  } else {
    // Comes again at once, with the usual end.
    sigaction(signal, &other, nullptr);
  }
}

void handle_fault(int signal, siginfo_t *info, void *context) {
  Worker *worker = current;
  if (!worker || !worker->inside) return pass_on(signal, info, context);
  uintptr_t address = (uintptr_t)info->si_addr;
  // After a stack overflow the stack pointer may lie below all stacks.
  int thread = worker->region.thread_of(stack_pointer_of(context));
  if (thread < 0 && worker->region.is_guard(address)) thread = worker->region.thread_of(address);
  if (thread < 0) thread = 0;
  char text[240];
  int code = illegal_address;
  if (signal == SIGFPE || signal == SIGILL) {
    code = launch_failed;
    snprintf(text, sizeof text, "%s", signal == SIGFPE ? "division of an integer by zero" : "trap");
  } else if (worker->region.is_guard(address)) {
    code = launch_failed;
    snprintf(text, sizeof text, "stack overflow: a thread has %zu KiB here", (size_t)(stack_bytes >> 10));
  } else if (info->si_code == SI_KERNEL || signal == SIGBUS) {
    // x86 gives no address for an aligned access to an address that is not.
    code = misaligned_address;
    snprintf(text, sizeof text, "misaligned or impossible address");
  } else {
    // The heap's lock is not held: kernels do not allocate, and copy_async16 faults nowhere.
    std::string where = memory().describe(address);
    uintptr_t shared = (uintptr_t)worker->block().shared;
    if (address - (shared - page) < worker->launch->shared_bytes + 2 * page)
      where = "outside the block's " + std::to_string(worker->launch->shared_bytes) + " bytes of shared memory";
    snprintf(text, sizeof text, "illegal address 0x%zx: %s", (size_t)address, where.c_str());
  }
  worker->report((unsigned)thread, code, text);
  siglongjmp(worker->escape, 1);
}

void install_handlers() {
  struct sigaction action = {};
  action.sa_sigaction = handle_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigaction(signal, &action, &former[signal]);
}

// MARK: Launches

// Host threads that run the blocks of one launch at a time.
class Pool {
 public:
  Pool() {
    install_handlers();
    for (unsigned i = 0; i < configuration().threads; i++) std::thread([this] { work(); }).detach();
    count = configuration().threads;
  }

  int run(const Launch &next) {
    std::unique_lock lock(mutex);
    launch = &next;
    blocks = (uint64_t)next.grid.x * next.grid.y * next.grid.z;
    taken = 0;
    error = 0;
    first_error = 0;
    busy = count;
    generation++;
    started.notify_all();
    ended.wait(lock, [&] { return busy == 0; });
    return error;
  }

 private:
  void work() {
    // Left to the system at the end of the process, as this thread is.
    Worker &worker = *new Worker;
    current = &worker;
    stack_t stack = {};
    stack.ss_size = 64 << 10;
    stack.ss_sp = malloc(stack.ss_size);
    sigaltstack(&stack, nullptr);
    uint64_t seen = 0;
    while (true) {
      std::unique_lock lock(mutex);
      started.wait(lock, [&] { return generation != seen; });
      seen = generation;
      worker.launch = launch;
      lock.unlock();
      run_blocks(worker);
      lock.lock();
      worker.launch = nullptr;
      if (worker.error) error = worker.error;
      if (--busy == 0) ended.notify_all();
    }
  }

  void run_blocks(Worker &worker) {
    const Launch &launch = *worker.launch;
    worker.error = 0;
    if (!worker.region.usable()) {
      worker.error = 2;
      return;
    }
    Block &block = worker.block();
    block.machine = &machine;
    block.shared = worker.shared.prepare(launch.shared_bytes);
    block.shared_bytes = launch.shared_bytes;
    block.size = launch.block;
    block.grid = launch.grid;
    block.threads = launch.block.x * launch.block.y * launch.block.z;
    for (unsigned i = 0; i < block.threads; i++)
      block.thread_index[i] = {i % launch.block.x, i / launch.block.x % launch.block.y,
                               i / launch.block.x / launch.block.y};
    for (Memory::Allocation &known : worker.recent) known = {};
    if (sigsetjmp(worker.escape, 1) == 0) {
      worker.inside = 1;
      share(worker);
    }
    worker.inside = 0;
  }

  // Takes blocks until there are none, or one has failed.
  void share(Worker &worker) {
    const Launch &launch = *worker.launch;
    // Blocks may run in any order: they start somewhere in the middle, and go up or down.
    uint64_t start = launch.seed % blocks;
    bool down = launch.seed >> 40 & 1;
    while (worker.error == 0 && first_error == 0) {
      uint64_t number = taken++;
      if (number >= blocks) break;
      number = (number + start) % blocks;
      worker.run_block(down ? blocks - 1 - number : number);
    }
  }

  std::mutex mutex;
  std::condition_variable started, ended;
  const Launch *launch = nullptr;
  uint64_t blocks = 0, generation = 0;
  std::atomic<uint64_t> taken{0};
  unsigned count = 0, busy = 0;
  int error = 0;
};

}  // namespace

int execute(const Launch &launch) {
  // Made at the first launch, and never destroyed: its threads run until the process ends.
  static Pool *pool = new Pool;
  return pool->run(launch);
}

}  // namespace simulator

extern "C" const char *turbocam_simulator_report(void) { return simulator::last_report; }
