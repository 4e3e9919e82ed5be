"""Devices and addresses that cannot be used: refused before work starts, with the path and the remedy."""

import contextlib
import os
import re
import socket

from support import OPEN_LOOPBACK, TWO_WEBCAMS, device_test
from support.camera import CAMERA, show
from support.picture import picture_of
from support.program import ADDRESS, Turbocam, run, snapshot, wait_until
from support.v4l2 import CAPTURE, Reader, device_caps


def refused(words, *arguments, naming, statuses=range(64, 79)):
    """Ends with a status of sysexits.h and a message with the thing's name and these words."""
    status, output, messages = run("run", "--model", "none", *arguments)
    told = f"{' '.join(arguments)}: status {status}, said: {messages.strip()}"
    assert status in statuses, told
    assert output == "", f"wrote to standard output: {output}"
    assert naming in messages, f"does not name {naming}: {told}"
    assert re.search(words, messages, re.IGNORECASE), f"no word of {words}: {told}"


@device_test()
def camera_that_is_busy():
    with Reader(CAMERA):
        who = rf"busy.*open in \S+ \(process {os.getpid()}\)"
        for spec in (CAMERA, "camera"):  # the virtual camera that nobody feeds is not taken for it
            refused(who, "--input", spec, "--output", ADDRESS, naming=CAMERA, statuses=[69])


@device_test(camera=TWO_WEBCAMS)
def another_camera_is_taken_with_a_notice():
    show("bars", "/dev/video1")
    with Reader(CAMERA), Turbocam("--input", "camera", "--output", ADDRESS) as program:
        program.serving()
        wait_until("bars in a snapshot", lambda: picture_of(snapshot()).shows_bars())
        said = program.messages()
        assert re.search(r"/dev/video0 \(vivid\): busy.*taking /dev/video1 \(vivid\)", said), said
        assert program.state()["input"].startswith("/dev/video1 (vivid), "), program.state()


@device_test()
def inputs_that_are_no_cameras():
    refused("camera|capture", "--input", "/dev/null", "--output", ADDRESS, naming="/dev/null")
    # Who feeds it may come: systemd tries again.
    refused("nobody writes", "--input", "/dev/video10", "--output", ADDRESS, naming="/dev/video10", statuses=[69])
    refused("no such|not there|not found|does not exist|no device|missing", "--input", "/dev/video9",
            "--output", ADDRESS, naming="/dev/video9")


@device_test()
def sinks_that_are_no_video_outputs():
    refused("output|loopback|virtual camera", "--input", "test", "--output", CAMERA, naming=CAMERA)
    refused("v4l2loopback|modprobe", "--input", "test", "--output", "/dev/video9", naming="/dev/video9")


@device_test(camera="none", loopback=OPEN_LOOPBACK)
def camera_that_is_written_to():
    """A loopback that can be read and written at any time, under two names: frames would go round in a circle."""
    os.symlink("/dev/video10", "/tmp/another-name")
    for name in ("/dev/video10", "/tmp/another-name"):
        refused("would write over", "--input", "/dev/video10", "--output", name, naming=name, statuses=[64])
        refused("no node .* captures", "--input", "camera", "--output", name, naming="camera", statuses=[66])
    refused("same place", "--input", "test", "--output", "/dev/video10", "--output", "/tmp/another-name",
            naming="/dev/video10", statuses=[64])


@device_test()
def sink_that_is_busy():
    show("bars")
    with Turbocam("--input", "test", "--output", "/dev/video10"):
        wait_until("the loopback is a camera", lambda: device_caps("/dev/video10") & CAPTURE)
        refused("busy|in use|another program|other program", "--input", "test", "--output", "/dev/video10",
                naming="/dev/video10")


@device_test()
def port_in_use():
    with contextlib.closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 8080))
        taken.listen()
        refused("in use|port", "--input", CAMERA, "--output", ADDRESS, naming="8080")


@device_test(camera="none", loopback="none")
def no_camera_at_all():
    refused("camera", "--input", "camera", "--output", ADDRESS, naming="camera")
