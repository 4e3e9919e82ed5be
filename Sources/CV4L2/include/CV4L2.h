#pragma once
// V4L2 from the kernel's user headers. The request macros do not import into Swift, so each is exported
// as a constant: VIDIOC_QUERYCAP as turbocam_VIDIOC_QUERYCAP.
#include <linux/videodev2.h>
#include <sys/ioctl.h>

int turbocam_ioctl(int fd, unsigned long request, void *argument);

// Drivers with the multi-planar API (V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE) describe a picture in one piece of memory
// in other structures than all others do. These three work on both by the type that `format` and `buffer` hold.

/// Puts the wanted size, layout and field into `format`.
void turbocam_set_pix(struct v4l2_format *format, const struct v4l2_pix_format *pix);
/// Takes what the driver answered out of `format`. Gives the number of pieces; `pix` describes the first.
int turbocam_get_pix(const struct v4l2_format *format, struct v4l2_pix_format *pix);
/// VIDIOC_QUERYBUF, QBUF or DQBUF for a picture in one piece: the plane's length, bytes and offset in `buffer`
/// itself. `start`: where in the buffer the picture starts.
int turbocam_buffer_ioctl(int fd, unsigned long request, struct v4l2_buffer *buffer, unsigned *start);

#define REQUEST(name) static const unsigned long turbocam_##name = name
REQUEST(VIDIOC_QUERYCAP);
REQUEST(VIDIOC_ENUM_FMT);
REQUEST(VIDIOC_ENUM_FRAMESIZES);
REQUEST(VIDIOC_ENUM_FRAMEINTERVALS);
REQUEST(VIDIOC_G_FMT);
REQUEST(VIDIOC_S_FMT);
REQUEST(VIDIOC_TRY_FMT);
REQUEST(VIDIOC_G_PARM);
REQUEST(VIDIOC_S_PARM);
REQUEST(VIDIOC_REQBUFS);
REQUEST(VIDIOC_QUERYBUF);
REQUEST(VIDIOC_QBUF);
REQUEST(VIDIOC_DQBUF);
REQUEST(VIDIOC_STREAMON);
REQUEST(VIDIOC_STREAMOFF);
REQUEST(VIDIOC_G_CTRL);
REQUEST(VIDIOC_S_CTRL);
REQUEST(VIDIOC_DQEVENT);
REQUEST(VIDIOC_SUBSCRIBE_EVENT);
REQUEST(VIDIOC_UNSUBSCRIBE_EVENT);
#undef REQUEST

// v4l2loopback's own event, from its v4l2loopback.h (0.13 and later): V4L2_EVENT_PRI_CLIENT_USAGE. Its data is
// one __u32: whether anybody streams from the device.
static const unsigned int turbocam_client_usage_event = V4L2_EVENT_PRIVATE_START + 0x08E00000 + 1;

// v4l2loopback's control CID_KEEP_FORMAT, from its v4l2loopback.c.
static const unsigned int turbocam_loopback_keep_format = V4L2_CID_USER_BASE | 0xf000;

// Whether a camera may expose for longer than a frame takes where it is dark.
static const unsigned int turbocam_exposure_dynamic_framerate = V4L2_CID_EXPOSURE_AUTO_PRIORITY;
