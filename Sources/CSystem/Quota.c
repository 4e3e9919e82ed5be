#include "CSystem.h"
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What this process may have: cores that it may run on, but no more than the time that its control groups give it is
// worth (`docker run --cpus 2`, systemd's CPUQuota=), and memory that is free, but no more than its groups have left
// (`docker run --memory 8g`, MemoryMax=).

enum { PATH = 1024 };

// What a group at a folder leaves, of a controller's version 1 or 2; NO_LIMIT where it sets none.
typedef int64_t (*room_of)(const char *folder, int version);
static const int64_t NO_LIMIT = INT64_MAX;

static FILE *open_in(const char *folder, const char *name) {
  char path[PATH + 32];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return fopen(path, "re");
}

// Up to two numbers at the beginning of a file; how many were there.
static int numbers(const char *folder, const char *name, int64_t found[2]) {
  FILE *file = open_in(folder, name);
  if (!file) return 0;
  int count = fscanf(file, "%" SCNd64 " %" SCNd64, &found[0], &found[1]);
  fclose(file);
  return count;
}

// The sum of the numbers that stand behind either of two words at the beginning of a file's lines; -1 if there are none.
static int64_t named(FILE *file, const char *first, const char *second) {
  char line[256], word[64];
  int64_t sum = -1, number;
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "%63s %" SCNd64, word, &number) != 2 || number < 0) continue;
    if (strcmp(word, first) == 0 || strcmp(word, second) == 0) sum = (sum < 0 ? 0 : sum) + number;
  }
  return sum;
}

// Whole processors: what a group may run in each period, by the period. Version 2 has both in one file, version 1 in
// two. "max" and -1 are no limit.
static int64_t processors_of(const char *folder, int version) {
  int64_t times[2] = {0, 0};
  if (version == 2 ? numbers(folder, "cpu.max", times) != 2 : numbers(folder, "cpu.cfs_quota_us", times) != 1)
    return NO_LIMIT;
  if (version == 1 && numbers(folder, "cpu.cfs_period_us", times + 1) != 1) return NO_LIMIT;
  return times[0] > 0 && times[1] > 0 ? (times[0] - 1) / times[1] + 1 : NO_LIMIT;
}

// A limit in bytes and what is used of it; whether there is one.
static int limited(const char *folder, const char *limit, const char *usage, int64_t *most, int64_t *used) {
  int64_t found[2][2];
  if (numbers(folder, limit, found[0]) < 1 || numbers(folder, usage, found[1]) < 1) return 0;
  *most = found[0][0];
  *used = found[1][0];
  // Version 1 says "no limit" as a number of nearly so many bytes as there are.
  return *most >= 0 && *most <= NO_LIMIT / 2 && *used >= 0;
}

static int memory_limited(const char *folder, int version, int64_t *most, int64_t *used) {
  return version == 2 ? limited(folder, "memory.max", "memory.current", most, used)
                      : limited(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", most, used);
}

// Bytes: the limit less what is used, of which files that can be read again count nothing.
static int64_t bytes_of(const char *folder, int version) {
  int64_t most, used;
  if (!memory_limited(folder, version, &most, &used)) return NO_LIMIT;
  int64_t files = 0;
  FILE *file = open_in(folder, "memory.stat");
  if (file) {
    files = version == 2 ? named(file, "inactive_file", "active_file")
                         : named(file, "total_inactive_file", "total_active_file");
    fclose(file);
  }
  int64_t held = files > 0 ? used - (files < used ? files : used) : used;
  return most > held ? most - held : 0;
}

// Version 1 limits memory and swap together.
static int swap_limited(const char *folder, int version, int64_t *most, int64_t *used) {
  if (version == 2) return limited(folder, "memory.swap.max", "memory.swap.current", most, used);
  int64_t most_memory, used_memory;
  if (!limited(folder, "memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes", most, used)
      || !memory_limited(folder, version, &most_memory, &used_memory))
    return 0;
  *most -= most_memory;
  *used -= used_memory;
  return 1;
}

static int64_t swap_of(const char *folder, int version) {
  int64_t most, used;
  if (!swap_limited(folder, version, &most, &used)) return NO_LIMIT;
  return most > used ? most - used : 0;
}

// The limits themselves, whatever is used.
static int64_t all_bytes_of(const char *folder, int version) {
  int64_t most, used;
  return memory_limited(folder, version, &most, &used) ? most : NO_LIMIT;
}

static int64_t all_swap_of(const char *folder, int version) {
  int64_t most, used;
  if (!swap_limited(folder, version, &most, &used)) return NO_LIMIT;
  return most > 0 ? most : 0;
}

// The least that the group at `path` below `root` and those that it lies in leave. A container sees its own group as
// the root, whatever it is called outside.
static int64_t least_room(const char *root, const char *path, int version, room_of room) {
  char folder[PATH];
  snprintf(folder, sizeof folder, "%s%s", root, path);
  int64_t least = NO_LIMIT;
  for (;;) {
    int64_t found = room(folder, version);
    if (found < least) least = found;
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

// The least that all groups of a controller leave. Lines of the file are `number:controllers:path`; version 2 has no
// controllers.
static int64_t least_of_groups(const char *groups, const char *mounted, const char *controller, room_of room) {
  FILE *file = fopen(groups, "re");
  if (!file) return NO_LIMIT;
  char line[PATH], root[PATH];
  int64_t least = NO_LIMIT;
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) continue;
    *path++ = 0;
    int version = *++controllers ? 1 : 2;
    if (version == 1 && !lists(controllers, controller)) continue;
    // Where both versions are at work the newer lies in a folder of its own, without this controller.
    snprintf(root, sizeof root, version == 2 ? "%s" : "%s/%s", mounted, controller);
    int64_t found = least_room(root, strcmp(path, "/") == 0 ? "" : path, version, room);
    if (found < least) least = found;
  }
  fclose(file);
  return least;
}

int turbocam_processor_quota(const char *groups, const char *mounted) {
  int64_t least = least_of_groups(groups, mounted, "cpu", processors_of);
  return least < INT_MAX ? (int)least : 0;
}

// Kilobytes behind a word of /proc/meminfo; -1 where it is not there, or more than any machine has.
static int64_t kilobytes(const char *meminfo, const char *word) {
  FILE *file = fopen(meminfo, "re");
  if (!file) return -1;
  int64_t found = named(file, word, word);
  fclose(file);
  return found < INT64_MAX / 4096 ? found : -1;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// What the system says of memory and swap, and no more than the groups leave of either.
static int64_t memory_and_swap(int64_t memory, int64_t swap, int64_t memory_room, int64_t swap_room) {
  int64_t room = memory >= 0 ? least(memory * 1024, memory_room) : memory_room;
  return room == NO_LIMIT || swap <= 0 ? room : room + least(swap * 1024, swap_room);
}

int64_t turbocam_free_memory(const char *meminfo, const char *groups, const char *mounted) {
  return memory_and_swap(
      kilobytes(meminfo, "MemAvailable:"), kilobytes(meminfo, "SwapFree:"),
      least_of_groups(groups, mounted, "memory", bytes_of), least_of_groups(groups, mounted, "memory", swap_of));
}

int64_t turbocam_whole_memory(const char *meminfo, const char *groups, const char *mounted) {
  return memory_and_swap(
      kilobytes(meminfo, "MemTotal:"), kilobytes(meminfo, "SwapTotal:"),
      least_of_groups(groups, mounted, "memory", all_bytes_of),
      least_of_groups(groups, mounted, "memory", all_swap_of));
}

// The first processor of the core that a processor belongs to; -1 where the system does not tell. Before 5.3 it has the
// older name alone.
static int64_t first_of_core(const char *folder, int processor) {
  char topology[PATH];
  int64_t found[2];
  snprintf(topology, sizeof topology, "%s/cpu%d/topology", folder, processor);
  if (numbers(topology, "core_cpus_list", found) < 1 && numbers(topology, "thread_siblings_list", found) < 1) return -1;
  return found[0];
}

int turbocam_cores(const char *folder, const int *processors, int count) {
  int64_t *firsts = calloc((size_t)count, sizeof *firsts);
  int cores = 0, told = firsts != NULL;
  for (int i = 0; told && i < count; i++) {
    int64_t first = first_of_core(folder, processors[i]);
    int known = 0;
    for (int j = 0; j < cores; j++) known |= firsts[j] == first;
    if (!known) firsts[cores++] = first;
    told = first >= 0;
  }
  free(firsts);
  return told ? cores : count;
}

// The cores of the processors that the process may run on. Their set has the size that this kernel wants, which is not
// known beforehand.
static int allowed_cores(const char *folder) {
  for (int most = 1024; most <= 1 << 20; most *= 4) {
    cpu_set_t *set = CPU_ALLOC((size_t)most);
    int *processors = malloc((size_t)most * sizeof *processors), count = 0;
    size_t size = CPU_ALLOC_SIZE((size_t)most);
    if (set && processors && sched_getaffinity(0, size, set) == 0)
      for (int i = 0; i < most; i++)
        if (CPU_ISSET_S((size_t)i, size, set)) processors[count++] = i;
    int cores = turbocam_cores(folder, processors, count);
    CPU_FREE(set);
    free(processors);
    if (cores) return cores;
  }
  return 1;
}

int turbocam_available_threads(void) {
  int count = allowed_cores("/sys/devices/system/cpu");
  int limit = turbocam_processor_quota("/proc/self/cgroup", "/sys/fs/cgroup");
  return limit && limit < count ? limit : count;
}
