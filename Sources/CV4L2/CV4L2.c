#include "CV4L2.h"
#include <errno.h>
#include <string.h>

// ioctl is variadic, which Swift cannot call; retries what a signal interrupted.
int turbocam_ioctl(int fd, unsigned long request, void *argument) {
  int result;
  do result = ioctl(fd, request, argument);
  while (result < 0 && errno == EINTR);
  return result;
}

void turbocam_set_pix(struct v4l2_format *format, const struct v4l2_pix_format *pix) {
  if (format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE) {
    format->fmt.pix = *pix;
    return;
  }
  memset(&format->fmt.pix_mp, 0, sizeof format->fmt.pix_mp);
  format->fmt.pix_mp.width = pix->width;
  format->fmt.pix_mp.height = pix->height;
  format->fmt.pix_mp.pixelformat = pix->pixelformat;
  format->fmt.pix_mp.field = pix->field;
  format->fmt.pix_mp.num_planes = 1;
}

int turbocam_get_pix(const struct v4l2_format *format, struct v4l2_pix_format *pix) {
  if (format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE) {
    *pix = format->fmt.pix;
    // Kernels before 3.16 leave what comes after it as it was.
    if (pix->priv != V4L2_PIX_FMT_PRIV_MAGIC) pix->ycbcr_enc = pix->quantization = 0;
    return 1;
  }
  const struct v4l2_pix_format_mplane *planes = &format->fmt.pix_mp;
  memset(pix, 0, sizeof *pix);
  pix->width = planes->width;
  pix->height = planes->height;
  pix->pixelformat = planes->pixelformat;
  pix->field = planes->field;
  pix->colorspace = planes->colorspace;
  pix->ycbcr_enc = planes->ycbcr_enc;
  pix->quantization = planes->quantization;
  pix->bytesperline = planes->plane_fmt[0].bytesperline;
  pix->sizeimage = planes->plane_fmt[0].sizeimage;
  return planes->num_planes;
}

int turbocam_buffer_ioctl(int fd, unsigned long request, struct v4l2_buffer *buffer, unsigned *start) {
  *start = 0;
  if (buffer->type != V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE) return turbocam_ioctl(fd, request, buffer);
  struct v4l2_plane plane = {0};
  buffer->m.planes = &plane;
  buffer->length = 1;
  int result = turbocam_ioctl(fd, request, buffer);
  buffer->m.offset = plane.m.mem_offset;
  buffer->length = plane.length;
  buffer->bytesused = plane.bytesused;
  *start = plane.data_offset;
  return result;
}
