"""The whole way with the embedded model. Floating point is a hundred times slower here than outside, so this
is about one repainted frame, not about speed."""

import os

from support import device_test
from support.camera import CAMERA, show
from support.picture import pictures
from support.program import ADDRESS, Turbocam, wait_until
from support.v4l2 import Reader

MODEL = os.path.join(os.environ.get("PROJECT", "."), "Fixtures/models/spark")


@device_test(timeout=500)
def camera_repainted_to_loopback():
    """What comes is neither a notice nor the camera's own picture, and still of the same scene: the bars get
    darker from left to right."""
    show("bars")
    with Turbocam("--input", CAMERA, "--output", "/dev/video10", "--output", ADDRESS, "--size", "128x128",
                  "--strength", "0.5", "--prompt", "watercolour painting", model=MODEL) as program:
        program.serving()
        with Reader("/dev/video10"):  # for nobody nothing would be repainted
            wait_until("a repainted frame", lambda: program.counter("frames_out") >= 1, 400, every=2)
            picture = pictures("-f", "v4l2", "-i", "/dev/video10")[0]
        assert not picture.shows_bars(), "the camera's own picture came through"
        # Luma, by which the bars are ordered: the mean of red, green and blue is the same for green and magenta.
        brightness = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in picture.row()]
        left, right = sum(brightness[12:32]) / 20, sum(brightness[32:52]) / 20
        assert left > right + 15, f"left {left:.0f}, right {right:.0f}: not the camera's scene: {picture}"
        program.alive()
