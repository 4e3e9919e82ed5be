#define _GNU_SOURCE
#include "CKernels.h"
#include "Team.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

int tc_set_threads(int count) {
  int failure = team_gather(count);
  if (!failure) team_set_most(count);
  return failure;
}

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
  team_share(run_queue, &work, 0);
}

void tc_parallel(tc_body body, const void *parameters, size_t count, size_t grain) {
  size_t threads = (size_t)team_most();
  size_t pieces = grain ? (count + grain - 1) / grain : count;
  if (threads < 2 || pieces < 2) {
    if (count) body(parameters, 0, count, 0);
    return;
  }
  share work = {body, parameters, count};
  team_share(run_share, &work, (unsigned)(pieces < threads ? pieces : threads));
}
