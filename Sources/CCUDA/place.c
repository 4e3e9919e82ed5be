// dladdr is an extension of GNU's, which Swift's Glibc does not show.
#define _GNU_SOURCE
#include "place.h"

#include <dlfcn.h>

const char *tc_cuda_file_of(const void *address) {
  Dl_info information;
  return dladdr(address, &information) != 0 ? information.dli_fname : 0;
}
