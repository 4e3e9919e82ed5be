#include "CSystem.h"
#include <string.h>
#include <sys/ioctl.h>

void turbocam_name_thread(const char *name) {
  char short_name[16];
  strncpy(short_name, name, sizeof short_name - 1);
  short_name[15] = 0;
  pthread_setname_np(pthread_self(), short_name);
}

const char *turbocam_error_name(int number) { return strerrorname_np(number); }

int turbocam_terminal_columns(int fd) {
  struct winsize size = {0};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}
