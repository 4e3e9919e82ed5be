#include "Barriers.h"

#include <cstring>

namespace simulator {

void Barriers::clear() {
  states.clear();
  under_way.clear();
}

const char *Barriers::make(uintptr_t barrier, int arrivals) {
  if (arrivals < 1) return "a barrier expects nobody";
  if (states.count(barrier)) return "a barrier is made twice";
  State state;
  state.arrivals = state.pending = (unsigned)arrivals;
  states[barrier] = state;
  return nullptr;
}

const char *Barriers::check(uintptr_t barrier) const {
  return states.count(barrier) ? nullptr : "there is no barrier, or it was not made";
}

const char *Barriers::arrive(uintptr_t barrier, int bytes, Block &block) {
  if (const char *mistake = check(barrier)) return mistake;
  State &state = states[barrier];
  if (state.pending == 0) return "more arrive at a barrier than it expects";
  state.pending--;
  state.bytes += bytes;
  finish(state, block);
  return nullptr;
}

bool Barriers::has_ended(uintptr_t barrier, int parity, unsigned thread) {
  State &state = states[barrier];
  if ((int)(state.phase & 1) != parity) return true;
  state.waiting.push_back(thread);
  return false;
}

// Ends the phase where nobody and nothing is missing.
void Barriers::finish(State &state, Block &block) {
  if (state.pending != 0 || state.bytes != 0) return;
  state.phase++;
  state.pending = state.arrivals;
  for (unsigned thread : state.waiting) block.warps[thread / warp_size].ready |= 1u << thread % warp_size;
  state.waiting.clear();
}

// Swizzled over 128 bytes: bits 4 to 6 of an address by bits 7 to 9.
static void write_chunk(unsigned char *to, const void *from, const TensorMap &map) {
  uintptr_t address = (uintptr_t)to;
  if (map.swizzle) address ^= (address >> 7 & 7) << 4;
  if (from)
    memcpy((void *)address, from, 16);
  else
    memset((void *)address, 0, 16);
}

void Barriers::land(uint64_t which, Block &block) {
  size_t index = which % under_way.size();
  Box box = under_way[index];
  under_way.erase(under_way.begin() + (long)index);
  const TensorMap &map = box.map;
  unsigned char *to = box.to;
  for (uint32_t z = 0; z < map.box[2]; z++)
    for (uint32_t y = 0; y < map.box[1]; y++)
      for (uint32_t x = 0; x < map.box[0]; x += 16 / map.element_bytes, to += 16) {
        long long at[3] = {(long long)box.at[0] + x, (long long)box.at[1] + y, (long long)box.at[2] + z};
        unsigned char chunk[16] = {};
        // A chunk may end outside.
        for (uint32_t i = 0; i < 16 / map.element_bytes; i++) {
          bool inside = at[0] + i >= 0 && at[0] + i < (long long)map.sizes[0];
          for (int d = 1; d < 3; d++) inside = inside && at[d] >= 0 && at[d] < (long long)map.sizes[d];
          if (!inside) continue;
          uintptr_t from = map.base + (uintptr_t)(at[0] + i) * map.element_bytes +
                           (uintptr_t)at[1] * map.strides[0] + (uintptr_t)at[2] * map.strides[1];
          memcpy(chunk + i * map.element_bytes, (const void *)from, map.element_bytes);
        }
        write_chunk(to, chunk, map);
      }
  State &state = states[box.barrier];
  state.bytes -= box.bytes();
  finish(state, block);
}

}  // namespace simulator
