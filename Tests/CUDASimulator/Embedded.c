#include "Embedded.h"

static const char device[] = {
#embed "device/device.cuh"
};
static const char warpgroup[] = {
#embed "device/warpgroup.cuh"
};
static const char machine[] = {
#embed "device/machine.h"
};

// With all that it tells the compiler.
static const char compiler[] = {
#embed "Compiler.cpp"
};

const struct tc_simulator_file tc_simulator_files[3] = {
    {"device.cuh", device, sizeof device},
    {"warpgroup.cuh", warpgroup, sizeof warpgroup},
    {"machine.h", machine, sizeof machine},
};

static uint64_t added(uint64_t hash, const char *text, size_t size) {
  for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3;
  return hash;
}

// FNV-1a.
uint64_t tc_simulator_hash(void) {
  uint64_t hash = added(0xcbf29ce484222325, compiler, sizeof compiler);
  for (size_t i = 0; i < 3; i++) hash = added(hash, tc_simulator_files[i].text, tc_simulator_files[i].size);
  return hash;
}
