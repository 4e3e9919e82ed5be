#include "Fibers.h"

#include <sys/mman.h>

namespace simulator {

constexpr uintptr_t guard_bytes = 4096;

// Only registers that a callee must keep: to the compiler a switch is a call. It ends in a jump: a processor takes the
// last call for where `ret` goes, but that was another fiber's.
#if defined(__x86_64__)
asm(R"(
.text
.globl tc_simulator_switch
.hidden tc_simulator_switch
.type tc_simulator_switch, @function
tc_simulator_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  pop %rcx
  jmp *%rcx
.size tc_simulator_switch, . - tc_simulator_switch
)");

// As if `entry` had just been called: a return address above it, the stack 16-byte aligned before that.
static void *first_frame(uintptr_t top, void (*entry)()) {
  void **stack = (void **)top;
  *--stack = nullptr;
  *--stack = (void *)entry;
  for (int i = 0; i < 6; i++) *--stack = nullptr;
  return stack;
}
#elif defined(__aarch64__)
asm(R"(
.text
.globl tc_simulator_switch
.hidden tc_simulator_switch
.type tc_simulator_switch, %function
tc_simulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size tc_simulator_switch, . - tc_simulator_switch
)");

static void *first_frame(uintptr_t top, void (*entry)()) {
  void **stack = (void **)(top - 160);
  for (int i = 0; i < 20; i++) stack[i] = nullptr;
  stack[11] = (void *)entry;  // x30
  return stack;
}
#endif

Region::Region() {
  void *mapping = mmap(nullptr, 2 * region_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return;
  uintptr_t aligned = ((uintptr_t)mapping + region_bytes - 1) & ~(region_bytes - 1);
  munmap(mapping, aligned - (uintptr_t)mapping);
  munmap((void *)(aligned + region_bytes), (uintptr_t)mapping + region_bytes - aligned);
  if (mprotect((void *)aligned, sizeof(Block), PROT_READ | PROT_WRITE) != 0) return;
  if (mprotect((void *)(aligned + stacks_bytes), stacks_bytes, PROT_READ | PROT_WRITE) != 0) return;
  base = aligned;
}

void *Region::start(unsigned thread, void (*entry)()) {
  uintptr_t bottom = base + stacks_bytes + thread * stack_bytes;
  for (; guarded <= thread; guarded++)
    mprotect((void *)(base + stacks_bytes + guarded * stack_bytes), guard_bytes, PROT_NONE);
  // Stacks lie 64 KiB apart; were their tops too, all threads' variables would fall into the same few lines of the
  // caches. 17 lines are odd, so 32 lanes spread evenly.
  uintptr_t top = bottom + stack_bytes - 64 - thread % 256 * 17 * 64 % (16 << 10);
  return first_frame(top, entry);
}

int Region::thread_of(uintptr_t address) const {
  uintptr_t offset = address - (base + stacks_bytes);
  return offset < stacks_bytes ? (int)(offset / stack_bytes) : -1;
}

bool Region::is_guard(uintptr_t address) const {
  return thread_of(address) >= 0 && (address - base) % stack_bytes < guard_bytes;
}

}  // namespace simulator
