#include "Memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <mutex>

namespace simulator {

constexpr uintptr_t page = 4096;
// On both sides: an index that is off by a row or two still ends here. Costs addresses only.
constexpr uintptr_t guard = 1 << 20;
// Address space is plentiful, but not endless; nor are mappings.
constexpr uintptr_t most_freed_bytes = (uintptr_t)64 << 30;
constexpr size_t most_freed = 4096;

Memory &memory() {
  // Never destroyed: worker threads may outlive main.
  static Memory *all = new Memory;
  return *all;
}

uintptr_t Memory::allocate(size_t bytes, int device, size_t limit) {
  std::unique_lock lock(mutex);
  if (bytes == 0 || bytes > limit || totals[device] > limit - bytes) return 0;
  uintptr_t inside = (bytes + page - 1) / page * page;
  void *mapping = mmap(nullptr, inside + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return 0;
  uintptr_t begin = (uintptr_t)mapping + guard;
  if (mprotect((void *)begin, inside, PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping, inside + 2 * guard);
    return 0;
  }
  memset((void *)begin, 0xff, inside);
  // A size that is a multiple of 256 gets an address that is one too, as a GPU's allocations are.
  uintptr_t base = (begin + inside - bytes) & ~(uintptr_t)15;
  live[base] = {base, bytes, (uintptr_t)mapping, inside + 2 * guard, device};
  totals[device] += bytes;
  return base;
}

bool Memory::free(uintptr_t base, int device) {
  std::unique_lock lock(mutex);
  auto found = live.find(base);
  if (found == live.end() || found->second.device != device) return false;
  retire(found->second);
  live.erase(found);
  return true;
}

void Memory::free_all(int device) {
  std::unique_lock lock(mutex);
  for (auto next = live.begin(); next != live.end();) {
    if (next->second.device == device) {
      retire(next->second);
      next = live.erase(next);
    } else {
      ++next;
    }
  }
}

void Memory::retire(const Allocation &allocation) {
  totals[allocation.device] -= allocation.bytes;
  // A fresh mapping in the place of the old one gives its pages back, and faults.
  mmap((void *)allocation.mapping, allocation.mapping_bytes, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  freed.emplace_back(allocation.mapping, allocation.mapping_bytes);
  freed_bytes += allocation.mapping_bytes;
  while (freed.size() > most_freed || freed_bytes > most_freed_bytes) {
    munmap((void *)freed.front().first, freed.front().second);
    freed_bytes -= freed.front().second;
    freed.pop_front();
  }
}

size_t Memory::used(int device) {
  std::shared_lock lock(mutex);
  auto found = totals.find(device);
  return found == totals.end() ? 0 : found->second;
}

bool Memory::find(uintptr_t address, size_t bytes, int device, Allocation *found) {
  std::shared_lock lock(mutex);
  auto next = live.upper_bound(address);
  if (next == live.begin()) return false;
  const Allocation &allocation = (--next)->second;
  uintptr_t offset = address - allocation.base;
  if (offset >= allocation.bytes || bytes > allocation.bytes - offset) return false;
  if (allocation.device != device && allocation.device != host) return false;
  if (found) *found = allocation;
  return true;
}

bool Memory::is_host(uintptr_t address, size_t bytes) { return find(address, bytes, host, nullptr); }

std::string Memory::describe(uintptr_t address) {
  std::shared_lock lock(mutex);
  const Allocation *nearest = nullptr;
  uintptr_t distance = 0;
  bool before = false;
  auto next = live.upper_bound(address);
  if (next != live.end()) {
    nearest = &next->second;
    distance = next->first - address;
    before = true;
  }
  if (next != live.begin()) {
    const Allocation &last = std::prev(next)->second;
    uintptr_t end = last.base + last.bytes;
    uintptr_t behind = address < end ? 0 : address - end;
    if (!nearest || behind <= distance) {
      nearest = &last;
      distance = behind;
      before = false;
    }
  }
  if (!nearest) return "nothing is allocated";
  char text[160];
  if (!before && address < nearest->base + nearest->bytes)
    snprintf(text, sizeof text, "inside the %zu bytes at 0x%zx", (size_t)nearest->bytes, (size_t)nearest->base);
  else
    snprintf(text, sizeof text, "%zu bytes %s the %zu bytes at 0x%zx", (size_t)distance, before ? "before" : "behind",
             (size_t)nearest->bytes, (size_t)nearest->base);
  return text;
}

}  // namespace simulator
