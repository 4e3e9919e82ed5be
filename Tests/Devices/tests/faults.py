"""A camera that misbehaves: the stream goes on, says so, and comes back."""

import os
import time

from support import TWO_WEBCAMS, device_test
from support.camera import CAMERA, RED, plug_in, plug_in_as, show, unplug
from support.picture import picture_of
from support.program import ADDRESS, Turbocam, Viewer, wait_until
from support.v4l2 import control


class Watched:
    """The program on the camera, by a path, with somebody watching bars."""

    def __init__(self, path=CAMERA):
        self.path = path

    def __enter__(self):
        show("bars")
        self.program = Turbocam("--input", self.path, "--output", ADDRESS)
        try:
            self.program.serving()
            self.viewer = Viewer()
            wait_until("bars in the stream", lambda: self.shown().shows_bars())
        except BaseException as error:
            self.program.__exit__(type(error))
            raise
        return self

    def __exit__(self, kind, *_):
        self.viewer.__exit__()
        self.program.__exit__(kind)

    def shown(self):
        self.program.alive()
        return picture_of(self.viewer.fresh())

    def recovers(self, device=CAMERA):
        """Live again: a pattern that is new shows up."""
        show("red", device)
        wait_until("the camera's new picture", lambda: self.shown().shows_plain(RED))

    def shows_notice(self):
        """A picture that is not the camera's, and not blank."""
        def notice():
            picture = self.shown()
            return not picture.shows_bars() and picture.detail() > 0.2
        wait_until("a picture that says what is wrong", notice)

    def reconnects(self):
        return self.program.counter("reconnect")


@device_test()
def camera_unplugged_and_back():
    with Watched() as watched:
        for round_number in (1, 2):
            unplug()
            watched.shows_notice()
            time.sleep(2)
            plug_in()
            watched.recovers()
            assert watched.reconnects() >= round_number, watched.program.state()
            show("bars")
            wait_until("bars in the stream", lambda: watched.shown().shows_bars())


@device_test()
def camera_back_under_another_number():
    with Watched() as watched:
        unplug()
        watched.shows_notice()
        path = plug_in_as(2)
        watched.recovers(path)
        assert watched.reconnects() >= 1, watched.program.state()
        assert path in watched.program.state()["input"], "the state tells of the camera's old number"


@device_test()
def camera_disconnected_in_mid_stream():
    with Watched() as watched:
        control(CAMERA, "disconnect", 1)
        time.sleep(1)
        watched.recovers()
        assert watched.reconnects() >= 1, watched.program.state()


@device_test()
def camera_by_a_link_is_found_again():
    link = "/dev/my-camera"
    os.symlink(CAMERA, link)
    with Watched(link) as watched:
        control(CAMERA, "disconnect", 1)
        time.sleep(1)
        watched.recovers()
        assert watched.reconnects() >= 1, watched.program.state()


@device_test(camera=TWO_WEBCAMS)
def camera_is_not_its_neighbour():
    with Watched() as watched:
        show("blue", "/dev/video1")
        unplug()
        watched.shows_notice()
        time.sleep(3)
        watched.shows_notice()
        assert "/dev/video1" not in watched.program.state()["input"], watched.program.state()
        plug_in()
        watched.recovers()


@device_test()
def fatal_streaming_error():
    with Watched() as watched:
        control(CAMERA, "inject_fatal_streaming_error", 1)
        time.sleep(1)
        watched.recovers()
        assert watched.reconnects() >= 1, watched.program.state()


@device_test()
def frames_flagged_as_errors():
    with Watched() as watched:
        for _ in range(3):
            control(CAMERA, "inject_v4l2_buf_flag_error", 1)
            assert watched.shown().shows_bars()
        watched.recovers()
        assert watched.program.counter("corrupt") >= 1, watched.program.state()


@device_test()
def dropped_buffers():
    with Watched() as watched:
        control(CAMERA, "percentage_of_dropped_buffers", 60)
        time.sleep(2)
        assert watched.shown().shows_bars()
        control(CAMERA, "percentage_of_dropped_buffers", 0)
        watched.recovers()


@device_test()
def camera_silent_for_a_while():
    with Watched() as watched:
        control(CAMERA, "percentage_of_dropped_buffers", 100)
        watched.shows_notice()
        control(CAMERA, "percentage_of_dropped_buffers", 0)
        watched.recovers()


@device_test()
def errors_while_starting():
    """Each of these calls fails once with EINVAL; the next attempt works."""
    show("bars")
    for call in ("reqbufs", "qbuf", "streamon"):
        control(CAMERA, f"inject_vidioc_{call}_error", 1)
        with Turbocam("--input", CAMERA, "--output", ADDRESS) as program:
            program.serving()
            wait_until(f"bars after a failed {call}", lambda: picture_of(Viewer().fresh()).shows_bars())
