#include "CV4L2.h"
#include <errno.h>

// ioctl is variadic, which Swift cannot call; retries what a signal interrupted.
int turbocam_ioctl(int fd, unsigned long request, void *argument) {
  int result;
  do result = ioctl(fd, request, argument);
  while (result < 0 && errno == EINTR);
  return result;
}
