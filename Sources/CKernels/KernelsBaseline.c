#include "Dispatch.h"
#include <math.h>
#include <string.h>
#define TC_TABLE tc_table_baseline
#define TC_TABLE_NAME "baseline"
#define TC_LANES 4
#include "Kernels.h"
