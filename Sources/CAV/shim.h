#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

// libav's error codes and unknown values are function-like macros, which do not import.
static const int turbocam_averror_eof = AVERROR_EOF;
static const int turbocam_averror_eagain = AVERROR(EAGAIN);
static const int64_t turbocam_av_nopts_value = AV_NOPTS_VALUE;
