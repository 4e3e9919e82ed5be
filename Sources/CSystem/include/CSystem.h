#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
// Small pieces of the C library that Swift cannot call directly.
#include <pthread.h>

/// Names the calling thread (at most 15 bytes), as shown by top -H and gdb.
void turbocam_name_thread(const char *name);

/// "EBUSY" for that number, NULL for one that the system has not.
const char *turbocam_error_name(int number);

/// Columns of the terminal behind `fd`, 0 where it is none.
int turbocam_terminal_columns(int fd);
