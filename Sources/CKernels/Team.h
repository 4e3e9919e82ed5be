#pragma once
#include <stdint.h>

/// The threads that work on a parallel region, oneDNN's and ours alike.

/// Sees to it that the regions which the calling thread begins can have so many threads, itself included; 0, or the
/// errno of the one that could not be made.
int team_gather(int count);
/// Runs `body` on `count` threads, this one included, and returns when all are done; 0: as many as this thread was told
/// to use. Inside a region it runs on the one thread. Ends the process where so many cannot be had: gather them before.
void team_run(void (*body)(void *), void *data, unsigned count);
/// The same for parts that never wait for each other, as oneDNN's may: those that no other thread has begun by the time
/// this one is done with its own are done here, one after the other. So a frame does not wait for a thread whose
/// processor another program has.
void team_share(void (*body)(void *), void *data, unsigned count);
/// How the calling thread rounds, and whether subnormal numbers are zeros to it; its regions do as it does.
uint32_t team_float_mode(void);
void team_set_float_mode(uint32_t mode);
/// The calling thread's place in its region, 0 outside.
int team_number(void);
/// Threads in the calling thread's region, 1 outside.
int team_size(void);
/// Threads of the regions that the calling thread begins.
void team_set_most(int count);
int team_most(void);
