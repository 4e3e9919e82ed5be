#pragma once
// V4L2 from the kernel's user headers. The request macros do not import into Swift, so each is
// exported as a constant under its own name.
#include <linux/videodev2.h>
#include <sys/ioctl.h>

int turbocam_ioctl(int fd, unsigned long request, void *argument);
