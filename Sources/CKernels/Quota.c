#define _GNU_SOURCE
#include "CKernels.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// How many processors this process may keep busy: those that it may run on, and no more than the time that its control
// groups give it is worth (`docker run --cpus 2`, systemd's CPUQuota=).

enum { PATH = 1024 };

// Up to two numbers at the beginning of a file; how many were there.
static int numbers(const char *folder, const char *name, long found[2]) {
  char path[PATH + 32];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  int count = fscanf(file, "%ld %ld", &found[0], &found[1]);
  fclose(file);
  return count;
}

// What a group may run in each period, and the period: version 2 has both in one file, version 1 in two. "max" and -1
// are no limit.
static int limit_of(const char *folder, int version) {
  long times[2] = {0, 0};
  if (version == 2 ? numbers(folder, "cpu.max", times) != 2 : numbers(folder, "cpu.cfs_quota_us", times) != 1) return 0;
  if (version == 1 && numbers(folder, "cpu.cfs_period_us", times + 1) != 1) return 0;
  return times[0] > 0 && times[1] > 0 ? (int)((times[0] + times[1] - 1) / times[1]) : 0;
}

// The least limit of the group at `path` below `root` and of those that it lies in, 0 where there is none. A container
// sees its own group as the root, whatever it is called outside.
static int least_limit(const char *root, const char *path, int version) {
  char folder[PATH];
  snprintf(folder, sizeof folder, "%s%s", root, path);
  int least = 0;
  for (;;) {
    int limit = limit_of(folder, version);
    if (limit && (!least || limit < least)) least = limit;
    char *slash = strrchr(folder, '/');
    if (strlen(folder) <= strlen(root) || !slash) return least;
    *slash = 0;
  }
}

// Whether a list of names with commas between has one of them.
static int lists(const char *names, const char *name) {
  size_t length = strlen(name);
  for (const char *at = names; at; at = strchr(at, ',')) {
    if (*at == ',') at++;
    if (strncmp(at, name, length) == 0 && (!at[length] || at[length] == ',')) return 1;
  }
  return 0;
}

// Lines are `number:controllers:path`; version 2 has no controllers.
int tc_processor_quota(const char *groups, const char *mounted) {
  FILE *file = fopen(groups, "re");
  if (!file) return 0;
  char line[PATH], root[PATH];
  int least = 0;
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) continue;
    *path++ = 0;
    int version = *++controllers ? 1 : 2;
    if (version == 1 && !lists(controllers, "cpu")) continue;
    // Where both versions are at work the newer lies in a folder of its own, without this controller.
    snprintf(root, sizeof root, version == 2 ? "%s" : "%s/cpu", mounted);
    int limit = least_limit(root, strcmp(path, "/") == 0 ? "" : path, version);
    if (limit && (!least || limit < least)) least = limit;
  }
  fclose(file);
  return least;
}

// A set of the size that this kernel wants, which is not known beforehand.
static int allowed_processors(void) {
  for (int most = 1024; most <= 1 << 20; most *= 4) {
    cpu_set_t *set = CPU_ALLOC((size_t)most);
    if (!set) return 1;
    size_t size = CPU_ALLOC_SIZE((size_t)most);
    int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count) return count;
  }
  return 1;
}

int tc_available_threads(void) {
  int count = allowed_processors(), limit = tc_processor_quota("/proc/self/cgroup", "/sys/fs/cgroup");
  return limit && limit < count ? limit : count;
}
