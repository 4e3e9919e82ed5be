"""The whole way with the embedded model. Floating point is a hundred times slower here than outside, so this
is about one repainted frame, not about speed."""

import os

from support import device_test
from support.camera import CAMERA, show
from support.picture import pictures
from support.program import Turbocam, wait_until
from support.v4l2 import CAPTURE, device_caps

MODEL = os.path.join(os.environ.get("PROJECT", "."), "Fixtures/models/spark")


@device_test(timeout=400)
def camera_repainted_to_loopback():
    """The loopback is a camera from the start (a notice while the model loads), then shows a repainted picture:
    neither the notice nor the camera's own."""
    show("bars")
    with Turbocam("--input", CAMERA, "--output", "/dev/video10", "--size", "128x128", "--strength", "0.5",
                  "--prompt", "a watercolour painting", model=MODEL) as program:
        wait_until("the loopback is a camera", lambda: device_caps("/dev/video10") & CAPTURE, 60)
        notice = pictures("-f", "v4l2", "-i", "/dev/video10")[0]

        def repainted():
            program.alive()
            picture = pictures("-f", "v4l2", "-i", "/dev/video10")[0]
            return picture if picture.difference(notice) > 12 and picture.detail() > 1 else None
        picture = wait_until("a repainted picture", repainted, 300, every=3)
        assert not picture.shows_bars(), "the camera's own picture came through"
