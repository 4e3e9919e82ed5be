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

const struct tc_simulator_file tc_simulator_files[3] = {
    {"device.cuh", device, sizeof device},
    {"warpgroup.cuh", warpgroup, sizeof warpgroup},
    {"machine.h", machine, sizeof machine},
};
