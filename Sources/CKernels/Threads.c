#define _GNU_SOURCE
#include "CKernels.h"
#include "Team.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Whole processors that the control group (version 2) of this process may use, or 0 where there is no limit.
static int quota(void) {
  char line[512], path[640] = "";
  FILE *file = fopen("/proc/self/cgroup", "re");
  if (!file) return 0;
  while (fgets(line, sizeof line, file))
    if (strncmp(line, "0::", 3) == 0) {
      line[strcspn(line, "\n")] = 0;
      snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", line + 3);
    }
  fclose(file);
  long allowed, period;
  if (!path[0] || !(file = fopen(path, "re"))) return 0;
  int found = fscanf(file, "%ld %ld", &allowed, &period);
  fclose(file);
  return found == 2 && period > 0 ? (int)((allowed + period - 1) / period) : 0;
}

int tc_available_threads(void) {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  int limit = quota();
  if (limit > 0 && limit < count) count = limit;
  return count > 0 ? count : 1;
}

void tc_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
void tc_set_threads(int count) { team_set_most(count); }

uint32_t tc_flush_subnormals(void) {
  uint32_t mode = team_float_mode();
#if defined(__x86_64__)
  team_set_float_mode(mode | 1 << 15 | 1 << 6);  // results, operands
#elif defined(__aarch64__)
  team_set_float_mode(mode | 1 << 24);
#endif
  return mode;
}

void tc_set_float_mode(uint32_t mode) { team_set_float_mode(mode); }

typedef struct {
  tc_body body;
  const void *parameters;
  size_t count;
} share;

static void run_share(void *data) {
  const share *work = data;
  size_t thread = (size_t)team_number(), threads = (size_t)team_size();
  size_t begin = work->count * thread / threads, end = work->count * (thread + 1) / threads;
  if (begin < end) work->body(work->parameters, begin, end, (int)thread);
}

typedef struct {
  tc_body body;
  const void *parameters;
  size_t count, piece;
  _Atomic size_t next;
} queue;

static void run_queue(void *data) {
  queue *work = data;
  for (;;) {
    size_t begin = atomic_fetch_add_explicit(&work->next, work->piece, memory_order_relaxed);
    if (begin >= work->count) return;
    size_t rest = work->count - begin;
    work->body(work->parameters, begin, begin + (rest < work->piece ? rest : work->piece), team_number());
  }
}

void tc_parallel_in_turns(tc_body body, const void *parameters, size_t count) {
  enum { turns = 16 };
  size_t threads = (size_t)team_most();
  if (threads < 2 || count < 2) {
    if (count) body(parameters, 0, count, 0);
    return;
  }
  size_t piece = count / (threads * turns);
  queue work = {.body = body, .parameters = parameters, .count = count, .piece = piece ? piece : 1};
  team_run(run_queue, &work, 0);
}

void tc_parallel(tc_body body, const void *parameters, size_t count, size_t grain) {
  size_t threads = (size_t)team_most();
  size_t pieces = grain ? (count + grain - 1) / grain : count;
  if (threads < 2 || pieces < 2) {
    if (count) body(parameters, 0, count, 0);
    return;
  }
  share work = {body, parameters, count};
  team_run(run_share, &work, 0);
}
