#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
// Small pieces of the C library that Swift cannot call directly, and how much of the machine is this process's.
#include <pthread.h>
#include <stdint.h>

/// Names the calling thread (at most 15 bytes), as shown by top -H and gdb.
void turbocam_name_thread(const char *name);

/// "EBUSY" for that number, NULL for one that the system has not.
const char *turbocam_error_name(int number);

/// Columns of the terminal behind `fd`, 0 where it is none.
int turbocam_terminal_columns(int fd);

// MARK: What the process may have

/// Threads worth using: one for each core that the affinity mask leaves, limited by the control group's quota. A second
/// one on a core takes the first one's units and cache.
int turbocam_available_threads(void);
/// Cores that processors belong to, as the system tells in `folder` (/sys/devices/system/cpu); `count` where it does
/// not tell of all.
int turbocam_cores(const char *folder, const int *processors, int count);
/// Whole processors that the control groups of a process allow, 0 where there is no limit: those in the file `groups`
/// (/proc/self/cgroup), of version 1 or 2 as they are mounted at `mounted`, and those that they lie in.
int turbocam_processor_quota(const char *groups, const char *mounted);
/// Bytes that the process can still fill before something is killed for them: what the system has free, swap included
/// (`meminfo` is /proc/meminfo), and no more than its control groups leave it. INT64_MAX where nothing is known.
int64_t turbocam_free_memory(const char *meminfo, const char *groups, const char *mounted);
/// The same were nothing used of it: more no process here can ever fill.
int64_t turbocam_whole_memory(const char *meminfo, const char *groups, const char *mounted);
