#define _GNU_SOURCE
#include "CKernels.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The entry points of libgomp's stable ABI that a compiler emits for `#pragma omp parallel`: Swift's clang
// ships no OpenMP headers, but oneDNN brings the library.
extern void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int count);

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

static void nothing(void *data) {}

static void *park(void *data) {
  GOMP_parallel(nothing, NULL, (unsigned)sysconf(_SC_NPROCESSORS_CONF) + 1, 0);
  for (;;) pause();
  return NULL;
}

// libgomp's threads spin for milliseconds at every barrier unless it counts more threads than processors, or
// OMP_WAIT_POLICY or GOMP_SPINCOUNT said otherwise before the program began. Beside cameras, encoders and other
// programs, spinning threads keep the ones they wait for from running: frames took five times as long. So a
// team of one thread more than processors is started once, and sleeps from then on: with it in the count, all
// waits spin for microseconds and then sleep.
static void make_waits_short(void) {
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_create(&thread, &attributes, park, NULL);
  pthread_attr_destroy(&attributes);
}

void tc_prepare_threads(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_waits_short);
}

void tc_set_threads(int count) { omp_set_num_threads(count); }
int tc_threads(void) { return omp_get_max_threads(); }

typedef struct {
  tc_body body;
  const void *parameters;
  size_t count;
} share;

static void run_share(void *data) {
  const share *work = data;
  size_t thread = (size_t)omp_get_thread_num(), threads = (size_t)omp_get_num_threads();
  size_t begin = work->count * thread / threads, end = work->count * (thread + 1) / threads;
  if (begin < end) work->body(work->parameters, begin, end, (int)thread);
}

void tc_parallel(tc_body body, const void *parameters, size_t count, size_t grain) {
  size_t threads = (size_t)omp_get_max_threads();
  size_t pieces = grain ? (count + grain - 1) / grain : count;
  // A team of another size than oneDNN's would have to be started anew each time: all threads or none.
  if (threads < 2 || pieces < 2) {
    if (count) body(parameters, 0, count, 0);
    return;
  }
  share work = {body, parameters, count};
  GOMP_parallel(run_share, &work, (unsigned)threads, 0);
}
