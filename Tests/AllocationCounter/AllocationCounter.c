#define _GNU_SOURCE
#include "AllocationCounter.h"
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Replaces the C library's allocator entry points for the whole process: the executable's symbols come first.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

static _Atomic int counting;
static _Atomic long own, library, kept;

typedef struct {
  uintptr_t begin, end;
} range;
static range library_code[16];
static int library_count;

static int note_library(struct dl_phdr_info *info, size_t size, void *data) {
  if (!strstr(info->dlpi_name, "libdnnl") && !strstr(info->dlpi_name, "libstdc++")
      && !strstr(info->dlpi_name, "libgomp"))
    return 0;
  for (int i = 0; i < info->dlpi_phnum && library_count < 16; i++)
    if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
      uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
      library_code[library_count++] = (range){begin, begin + info->dlpi_phdr[i].p_memsz};
    }
  return 0;
}

static void note(void *caller) {
  if (!counting) return;
  kept++;
  for (int i = 0; i < library_count; i++)
    if ((uintptr_t)caller >= library_code[i].begin && (uintptr_t)caller < library_code[i].end) {
      library++;
      return;
    }
  own++;
}

void allocations_begin(void) {
  if (!library_count) dl_iterate_phdr(note_library, NULL);
  own = library = kept = 0;
  counting = 1;
}

allocation_counts allocations_end(void) {
  counting = 0;
  return (allocation_counts){own, library, kept};
}

// The thread sanitizer has an allocator of its own, which these would take the place of; under it nothing is counted.
#if !__has_feature(thread_sanitizer)
void *malloc(size_t size) {
  note(__builtin_return_address(0));
  return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
  note(__builtin_return_address(0));
  return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
  note(__builtin_return_address(0));
  if (old && counting) kept--;
  return __libc_realloc(old, size);
}
void *memalign(size_t alignment, size_t size) {
  note(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
  note(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}
int posix_memalign(void **block, size_t alignment, size_t size) {
  note(__builtin_return_address(0));
  *block = __libc_memalign(alignment, size);
  return *block ? 0 : ENOMEM;
}
void free(void *block) {
  if (block && counting) kept--;
  __libc_free(block);
}
#endif
