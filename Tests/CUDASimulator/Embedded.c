#include "Embedded.h"

static const char device[] = {
#embed "device/device.cuh"
};
static const char machine[] = {
#embed "device/machine.h"
};

const struct tc_simulator_file tc_simulator_files[2] = {
    {"device.cuh", device, sizeof device},
    {"machine.h", machine, sizeof machine},
};
