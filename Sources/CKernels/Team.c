#define _GNU_SOURCE
#include "Team.h"
#include "CKernels.h"
#include "CSystem.h"
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
  // Bytes between words that different threads wait for: two lines of the cache, which some processors fetch together.
  APART = 128,
  TAKEN = 1,  // what a part is before the first
};

// A word that threads wait for a change of, and how many of them sleep meanwhile.
typedef struct {
  _Alignas(APART) _Atomic uint32_t value;
  _Atomic uint32_t sleepers;
} awaited;

// A thread beside the one that begins regions. Regions without it do not touch it: it sleeps on.
typedef struct {
  // Its part in a region: even where it is offered, and one more from when somebody has taken it.
  awaited part;
  pthread_t thread;
} helper;

typedef struct {
  void (*body)(void *);
  void *data;
  int count;        // threads, the one that begins regions included
  unsigned active;  // of them, those that take part in the region
  uint32_t float_mode;
  int ends;
  helper *helpers;
  awaited working;  // parts that are not done yet, the caller's own aside
  awaited passed;   // barriers inside a region
  _Alignas(APART) _Atomic uint32_t arrived;  // at the next one
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
static uint32_t await_change(awaited *word, uint32_t value) {
  int64_t end = 0;
  for (;;) {
    for (int i = 0; i < LOOKS; i++) {
      uint32_t found = atomic_load_explicit(&word->value, memory_order_acquire);
      if (found != value) return found;
      pause_briefly();
    }
    int64_t time = now();
    if (!end) end = time + SPIN_NS;
    if (time > end) break;
  }
  // Who changes the word looks at `sleepers` after it, so either sees this sleeper, or the kernel sees the change.
  atomic_fetch_add(&word->sleepers, 1);
  uint32_t found;
  while ((found = atomic_load(&word->value)) == value)
    syscall(SYS_futex, &word->value, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
  atomic_fetch_sub(&word->sleepers, 1);
  return found;
}

static void wake(awaited *word) {
  if (atomic_load(&word->sleepers)) syscall(SYS_futex, &word->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

// Has the first `count` helpers look at what the team is to do.
static void call(team *t, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    // The last part was taken, so nobody else writes it. Plain stores do not wait for each other's lines.
    _Atomic uint32_t *part = &t->helpers[i].part.value;
    atomic_store_explicit(part, atomic_load_explicit(part, memory_order_relaxed) + 1, memory_order_release);
  }
  // Looks at sleepers come after all of the stores.
  atomic_thread_fence(memory_order_seq_cst);
  for (unsigned i = 0; i < count; i++) wake(&t->helpers[i].part);
}

// Whether the caller has the part now that was found to be `found`.
static int take(helper *of, uint32_t found) {
  return found % 2 == 0 && atomic_compare_exchange_strong(&of->part.value, &found, found + 1);
}

static void *help(void *argument) {
  member *self = argument;
  here = *self;
  free(self);
  team *t = here.team;
  helper *own_place = &t->helpers[here.number - 1];
  uint32_t part = TAKEN;
  for (;;) {
    part = await_change(&own_place->part, part);
    if (!take(own_place, part)) continue;
    part++;
    if (t->ends) return NULL;
    team_set_float_mode(t->float_mode);
    t->body(t->data);
    if (atomic_fetch_sub(&t->working.value, 1) == 1) wake(&t->working);
  }
}

static void end(void *argument) {
  team *t = argument;
  t->ends = 1;
  call(t, (unsigned)t->count - 1);
  for (int i = 0; i < t->count - 1; i++) pthread_join(t->helpers[i].thread, NULL);
  free(t->helpers);
  free(t);
}

static void make_key(void) { pthread_key_create(&at_exit, end); }

// One thread more; 0 or why there is none.
static int grow(team *t) {
  member *other = malloc(sizeof *other);
  if (!other) return ENOMEM;
  *other = (member){t, t->count};
  helper *place = &t->helpers[t->count - 1];
  pthread_t *thread = &place->thread;
  atomic_init(&place->part.value, TAKEN);
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
  size_t size = (size_t)(count - 1) * sizeof(helper);
  team *t = aligned_alloc(APART, sizeof *t);
  helper *helpers = aligned_alloc(APART, size);
  if (!t || !helpers) {
    free(t);
    free(helpers);
    return ENOMEM;
  }
  memset(t, 0, sizeof *t);
  memset(helpers, 0, size);
  t->count = 1;
  t->helpers = helpers;
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

// Does what is offered to helpers that have not begun: those that sleep, or wait for a processor that another program
// has. They find their parts taken.
static void take_over(team *t) {
  for (unsigned i = 0; i + 1 < t->active; i++) {
    if (!atomic_load_explicit(&t->working.value, memory_order_acquire)) return;
    helper *other = &t->helpers[i];
    if (!take(other, atomic_load_explicit(&other->part.value, memory_order_relaxed))) continue;
    here.number = (int)i + 1;
    t->body(t->data);
    atomic_fetch_sub(&t->working.value, 1);
  }
}

static void run(void (*body)(void *), void *data, unsigned count, int takes_over) {
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
  atomic_store_explicit(&t->working.value, count - 1, memory_order_relaxed);
  call(t, count - 1);
  here = (member){t, 0};
  body(data);
  if (takes_over) take_over(t);
  here = (member){NULL, 0};
  uint32_t working;
  while ((working = atomic_load_explicit(&t->working.value, memory_order_acquire))) await_change(&t->working, working);
}

void team_run(void (*body)(void *), void *data, unsigned count) { run(body, data, count, 0); }
void team_share(void (*body)(void *), void *data, unsigned count) { run(body, data, count, 1); }

int team_number(void) { return here.number; }
int team_size(void) { return here.team ? (int)here.team->active : 1; }
void team_set_most(int count) { most = count; }
int team_most(void) { return most > 0 ? most : (most = turbocam_available_threads()); }

static void barrier(void) {
  team *t = here.team;
  if (!t || t->active < 2) return;
  uint32_t passed = atomic_load(&t->passed.value);
  if (atomic_fetch_add(&t->arrived, 1) + 1 < t->active) {
    await_change(&t->passed, passed);
    return;
  }
  atomic_store(&t->arrived, 0);
  atomic_fetch_add(&t->passed.value, 1);
  wake(&t->passed);
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
