#define _GNU_SOURCE
#include "Team.h"
#include "CKernels.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Debian's oneDNN shares its work out with OpenMP, and libgomp's threads wait badly for a program like this one: they
// spin for milliseconds at every barrier, which keeps cameras and encoders from running, or, where there are more of
// them than processors, sleep after a microsecond, and then waking them for each of a frame's hundreds of regions takes
// a quarter of it. How long they spin is read from the environment before the program begins. So the regions are run
// here: the entry points at the end of this file, which a linked program brings along, are found before libgomp's.
// Threads spin for about as long as a wake takes, and sleep then.

enum {
  SPIN_NS = 30000,
  LOOKS = 16,  // at the word between two at the clock
};

typedef struct {
  void (*body)(void *);
  void *data;
  int count;        // threads, the one that begins regions included
  unsigned active;  // of them, those that take part in the region
  uint32_t float_mode;
  int ends;
  _Atomic uint32_t begun;    // regions; what the others wait for
  _Atomic uint32_t working;  // others that are not done yet
  _Atomic uint32_t arrived;  // at a barrier inside a region
  _Atomic uint32_t passed;   // barriers
  _Atomic uint32_t sleepers;
  pthread_t *others;
} team;

typedef struct {
  team *team;
  int number;
} member;

// The calling thread's place in a region; `team` is nil outside.
static _Thread_local member here;
// The team of the regions that the calling thread begins, and how many threads they should have; 0: all there are.
static _Thread_local team *own;
static _Thread_local int most;

static pthread_key_t at_exit;

static void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

uint32_t team_float_mode(void) {
#if defined(__x86_64__)
  return __builtin_ia32_stmxcsr();
#elif defined(__aarch64__)
  uint64_t mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return (uint32_t)mode;
#else
  return 0;
#endif
}

void team_set_float_mode(uint32_t mode) {
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(mode);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode));
#else
  (void)mode;
#endif
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// Waits until the word is no longer `value`; the new value.
static uint32_t await_change(team *t, _Atomic uint32_t *word, uint32_t value) {
  int64_t end = 0;
  for (;;) {
    for (int i = 0; i < LOOKS; i++) {
      uint32_t found = atomic_load_explicit(word, memory_order_acquire);
      if (found != value) return found;
      pause_briefly();
    }
    int64_t time = now();
    if (!end) end = time + SPIN_NS;
    if (time > end) break;
  }
  // Who changes the word looks at `sleepers` after it, so either sees this sleeper, or the kernel sees the change.
  atomic_fetch_add(&t->sleepers, 1);
  uint32_t found;
  while ((found = atomic_load(word)) == value)
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
  atomic_fetch_sub(&t->sleepers, 1);
  return found;
}

static void wake(team *t, _Atomic uint32_t *word) {
  if (atomic_load(&t->sleepers)) syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void *help(void *argument) {
  member *self = argument;
  here = *self;
  free(self);
  team *t = here.team;
  uint32_t begun = 0;
  for (;;) {
    begun = await_change(t, &t->begun, begun);
    if (t->ends) return NULL;
    if ((unsigned)here.number < t->active) {
      team_set_float_mode(t->float_mode);
      t->body(t->data);
    }
    if (atomic_fetch_sub(&t->working, 1) == 1) wake(t, &t->working);
  }
}

static void end(void *argument) {
  team *t = argument;
  t->ends = 1;
  atomic_fetch_add(&t->begun, 1);
  wake(t, &t->begun);
  for (int i = 0; i < t->count - 1; i++) pthread_join(t->others[i], NULL);
  free(t->others);
  free(t);
}

static void make_key(void) { pthread_key_create(&at_exit, end); }

// One thread more; 0 or why there is none.
static int grow(team *t) {
  member *other = malloc(sizeof *other);
  if (!other) return ENOMEM;
  *other = (member){t, t->count};
  pthread_t *thread = &t->others[t->count - 1];
  int failure = pthread_create(thread, NULL, help, other);
  if (failure) {
    free(other);
    return failure;
  }
  pthread_setname_np(*thread, "compute");
  t->count++;
  return 0;
}

int team_gather(int count) {
  if (count < 2 || (own && own->count >= count)) return 0;
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_key);
  if (own) end(own);
  own = NULL;
  pthread_setspecific(at_exit, NULL);
  team *t = calloc(1, sizeof *t);
  pthread_t *others = calloc((size_t)count, sizeof *others);
  if (!t || !others) {
    free(t);
    free(others);
    return ENOMEM;
  }
  t->count = 1;
  t->others = others;
  int failure = 0;
  while (!failure && t->count < count) failure = grow(t);
  if (failure) {
    end(t);
    return failure;
  }
  own = t;
  pthread_setspecific(at_exit, t);
  return 0;
}

void team_run(void (*body)(void *), void *data, unsigned count) {
  if (!count) count = (unsigned)team_most();
  if (here.team || count < 2) {
    // A team of one, so that a region within this one is inside of it too.
    static team alone = {.count = 1, .active = 1};
    member outer = here;
    here = (member){&alone, 0};
    body(data);
    here = outer;
    return;
  }
  // oneDNN has shared its work out for so many already: with fewer some of it would not be done.
  int failure = team_gather((int)count);
  if (failure) {
    fprintf(stderr, "%u threads for a parallel region: %s; raise the limit of processes\n", count, strerror(failure));
    abort();
  }
  team *t = own;
  t->body = body;
  t->data = data;
  t->active = count;
  t->float_mode = team_float_mode();
  atomic_store_explicit(&t->working, (uint32_t)t->count - 1, memory_order_relaxed);
  atomic_fetch_add(&t->begun, 1);
  wake(t, &t->begun);
  here = (member){t, 0};
  body(data);
  here = (member){NULL, 0};
  uint32_t working;
  while ((working = atomic_load_explicit(&t->working, memory_order_acquire))) await_change(t, &t->working, working);
}

int team_number(void) { return here.number; }
int team_size(void) { return here.team ? (int)here.team->active : 1; }
void team_set_most(int count) { most = count; }
int team_most(void) { return most > 0 ? most : (most = tc_available_threads()); }

static void barrier(void) {
  team *t = here.team;
  if (!t || t->active < 2) return;
  uint32_t passed = atomic_load(&t->passed);
  if (atomic_fetch_add(&t->arrived, 1) + 1 < t->active) {
    await_change(t, &t->passed, passed);
    return;
  }
  atomic_store(&t->arrived, 0);
  atomic_fetch_add(&t->passed, 1);
  wake(t, &t->passed);
}

// MARK: The entry points of libgomp's stable ABI that oneDNN calls, and a library that FFmpeg loads (soxr).
// One that calls others too (loops, sections) would meet both run times: a test looks at every library loaded.

#define EXPORTED __attribute__((visibility("default"), used))

EXPORTED void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags) {
  (void)flags;
  team_run(body, data, threads);
}
EXPORTED void GOMP_barrier(void) { barrier(); }
EXPORTED int omp_get_thread_num(void) { return team_number(); }
EXPORTED int omp_get_num_threads(void) { return team_size(); }
EXPORTED int omp_get_max_threads(void) { return team_most(); }
EXPORTED int omp_in_parallel(void) { return team_size() > 1; }
EXPORTED void omp_set_num_threads(int count) { team_set_most(count); }
