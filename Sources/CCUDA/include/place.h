#pragma once

// The file of the library that a function is in, as the dynamic linker names it; NULL where that is not known.
const char *tc_cuda_file_of(const void *address);
