#include "Execution.h"

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
#include "Worker.h"

namespace simulator {
namespace {

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
  int code = fault_of_address;
  if (signal == SIGFPE || signal == SIGILL) {
    code = fault_of_launch;
    snprintf(text, sizeof text, "%s", signal == SIGFPE ? "division of an integer by zero" : "trap");
  } else if (worker->region.is_guard(address)) {
    code = fault_of_launch;
    snprintf(text, sizeof text, "stack overflow: a thread has %zu KiB here", (size_t)(stack_bytes >> 10));
  } else if (info->si_code == SI_KERNEL || signal == SIGBUS) {
    // x86 gives no address for an aligned access to an address that is not.
    code = fault_of_alignment;
    snprintf(text, sizeof text, "misaligned or impossible address");
  } else {
    // The heap's lock is not held: kernels do not allocate, and copy_async16 faults nowhere.
    std::string where = memory().describe(address);
    uintptr_t shared = (uintptr_t)worker->block().shared;
    if (address - (shared - SharedMemory::page) < worker->launch->shared_bytes + 2 * SharedMemory::page)
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
