"""The virtual camera as those who read it see it."""

import signal
import time

from support import device_test
from support.camera import CAMERA, RED, plug_in, show, unplug
from support.picture import pictures
from support.program import ADDRESS, Turbocam, wait_until
from support.v4l2 import CAPTURE, Reader, device_caps

VIRTUAL = "/dev/video10"


def to_loopback(*more):
    return Turbocam("--input", CAMERA, "--output", VIRTUAL, *more)


def is_camera():
    return device_caps(VIRTUAL) & CAPTURE


def loopback_picture():
    """What is seen by somebody who has stayed for a while; who just came may see that the program had a rest."""
    with Reader(VIRTUAL) as reader:
        reader.frames(30)
        return pictures("-f", "v4l2", "-i", VIRTUAL)[0]


def check_format(reader):
    width, height, fourcc, _ = reader.format()
    assert (width, height) in ((1280, 720), (640, 480)), f"{width}x{height} is not a size that browsers keep"
    assert fourcc in ("YUYV", "YU12"), f"{fourcc} is not a format that every reader knows"
    return width, height, fourcc


@device_test()
def camera_to_loopback():
    show("bars")
    with to_loopback() as program:
        wait_until("the loopback is a camera", is_camera)
        wait_until("bars on the loopback", lambda: loopback_picture().shows_bars())
        show("red")
        wait_until("red on the loopback", lambda: loopback_picture().shows_plain(RED))
        assert program.stop() == 0, program.messages()


@device_test()
def loopback_has_the_size_asked_for():
    with Turbocam("--input", "test", "--camera-size", "854x480", "--output", VIRTUAL):
        wait_until("the loopback is a camera", is_camera)
        with Reader(VIRTUAL) as reader:
            assert reader.format()[:2] == (854, 480), reader.format()
            reader.frames(3)


@device_test(timeout=300, own_time=True)
def loopback_is_steady():
    show("bars")
    with to_loopback() as program:
        wait_until("the loopback is a camera", is_camera)
        with Reader(VIRTUAL) as reader:
            check_format(reader)
            reader.arrivals(3)
            began = time.monotonic()
            times = reader.arrivals(6)
        seconds = time.monotonic() - began
        silence = max(b - a for a, b in zip([began, *times], [*times, time.monotonic()]))
        print(f"{len(times) / seconds:.1f} frames/s, longest silence {silence:.2f} s")
        assert silence < 1, f"silent for {silence:.2f} s"
        assert 25 <= len(times) / seconds <= 33, f"{len(times) / seconds:.1f} frames a second"
        program.alive()


@device_test(timeout=500, own_time=True)
def loopback_outlives_the_camera():
    """The loopback never falls silent and keeps its format while the camera is away."""
    show("bars")
    with to_loopback() as program:
        wait_until("the loopback is a camera", is_camera)
        wait_until("bars on the loopback", lambda: loopback_picture().shows_bars())
        with Reader(VIRTUAL) as reader:
            before = check_format(reader)
            unplug()
            began = time.monotonic()
            times = reader.arrivals(6)
            silence = max(b - a for a, b in zip([began, *times], [*times, time.monotonic()]))
            assert silence < 1, f"silent for {silence:.2f} s while the camera is away"
        assert not loopback_picture().shows_bars(), "the lost camera's last picture stands as if it were live"
        plug_in()
        show("bars")
        wait_until("bars again", lambda: loopback_picture().shows_bars())
        with Reader(VIRTUAL) as reader:
            assert check_format(reader) == before, "the format changed"
        program.alive()


@device_test()
def readers_come_and_go():
    show("bars")
    with to_loopback() as program:
        wait_until("the loopback is a camera", is_camera)
        formats = set()
        for _ in range(4):
            with Reader(VIRTUAL) as reader:
                formats.add(check_format(reader))
                reader.frames(10)
            time.sleep(0.5)
        with Reader(VIRTUAL) as first:  # another reader that goes does not disturb this one
            first.frames(5)
            assert loopback_picture().shows_bars()
            first.frames(10)
        assert len(formats) == 1, f"the format changed: {formats}"
        program.alive()


@device_test()
def nothing_is_computed_while_nobody_reads():
    """Also for a reader from before the start, and with a driver that does not tell who reads."""
    show("bars")

    def is_idle(program):
        count = program.counter("frames_out")
        time.sleep(2)
        return program.counter("frames_out") == count

    with to_loopback("--output", ADDRESS) as program:
        program.serving()
        wait_until("it rests", lambda: is_idle(program))
        with Reader(VIRTUAL) as reader:
            wait_until("it works", lambda: not is_idle(program))
            reader.frames(10)
            with Reader(VIRTUAL) as other:
                other.frames(1)
            time.sleep(5)
            assert not is_idle(program), "a second reader's end ended the first one's pictures"
            program.stop()
            with to_loopback("--output", ADDRESS) as successor:
                successor.serving()
                time.sleep(5)
                wait_until("it works for the reader that was there", lambda: not is_idle(successor))
                reader.close()
                wait_until("it rests again", lambda: is_idle(successor))
                assert successor.stop() == 0, successor.messages()


@device_test()
def writer_restarts_under_a_reader():
    show("bars")
    for how in (signal.SIGTERM, signal.SIGKILL):
        with to_loopback() as program:
            wait_until("the loopback is a camera", is_camera)
            with Reader(VIRTUAL) as reader:
                before = check_format(reader)
                reader.frames(1)
                program.stop(how)
                with to_loopback() as successor:
                    reader.frames(10)  # more than the first one can have left in the queue
                    assert check_format(reader) == before, "the format changed"
                    successor.alive()
    with to_loopback():
        wait_until("bars on the loopback", lambda: is_camera() and loopback_picture().shows_bars())
