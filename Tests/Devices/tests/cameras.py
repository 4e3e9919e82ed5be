"""What there is to capture from, and capture to a stream."""

import json
import time

from support import TWO_LOOPBACKS, WEBCAM, device_test
from support.camera import CAMERA, RED, MJPEGCamera, show
from support.picture import picture_of, pictures
from support.v4l2 import Reader, control
from support.program import ADDRESS, Turbocam, Viewer, leaves, run, snapshot, wait_until


def entry_of(devices, path):
    """The innermost JSON object that names this node."""
    if isinstance(devices, dict):
        if path in devices.values():
            return devices
        devices = list(devices.values())
    if isinstance(devices, list):
        for inner in devices:
            if found := entry_of(inner, path):
                return found
    return None


@device_test()
def devices_are_listed():
    status, output, messages = run("devices", "--json")
    assert status == 0, f"status {status}: {messages}"
    devices = json.loads(output)

    camera = entry_of(devices, CAMERA)
    assert camera, f"{CAMERA} is not in {output}"
    text = json.dumps(camera)
    assert "vivid" in text and "YUYV" in text and "NV12" in text, f"name and formats are not in {text}"
    numbers = {value for _, value in leaves(camera)}
    sizes = [(320, 180), (640, 360), (640, 480), (1280, 720)]
    assert all(f"{w}x{h}" in text or {w, h} <= numbers for w, h in sizes), f"sizes are not in {text}"
    assert 25 in numbers or 25.0 in numbers or "25" in text, f"rates are not in {text}"

    virtual = entry_of(devices, "/dev/video10")
    assert virtual and "Turbocam" in json.dumps(virtual), f"/dev/video10 is not in {output}"
    assert not any(key.startswith(".cameras") and value == "/dev/video10" for key, value in leaves(devices)), \
        "an idle virtual camera is listed as a camera"

    status, output, _ = run("devices")
    assert status == 0 and CAMERA in output and "/dev/video10" in output and "640x480" in output, output


@device_test()
def camera_to_stream():
    show("bars")
    with Turbocam("--input", CAMERA, "--output", ADDRESS) as program:
        program.serving()
        wait_until("bars in a snapshot", lambda: picture_of(snapshot()).shows_bars())
        assert picture_of(snapshot("/?action=snapshot")).shows_bars()

        with Viewer() as viewer:  # with somebody watching all the time the camera stays open
            assert "multipart/x-mixed-replace" in viewer.head, viewer.head
            wait_until("bars in the stream", lambda: picture_of(viewer.fresh()).shows_bars())
            for address in (f"{ADDRESS}/stream", f"{ADDRESS}/?action=stream"):
                for picture in pictures("-f", "mpjpeg", "-i", address, count=5):
                    assert picture.shows_bars(), f"{address} shows {picture}"
            show("red")
            wait_until("red in the stream", lambda: picture_of(viewer.fresh()).shows_plain(RED))
            viewer.goes_on()
        assert program.stop() == 0, program.messages()


@device_test()
def colours_are_as_the_driver_encodes_them():
    show("bars")
    default, bt709, bt2020, full, limited = 0, 2, 6, 1, 2
    try:
        for matrix, levels in ((default, default), (bt709, limited), (bt709, full), (bt2020, default)):
            control(CAMERA, "y_cbcr_encoding", matrix)
            control(CAMERA, "quantization", levels)
            with Turbocam("--input", CAMERA, "--output", ADDRESS) as program:
                program.serving()
                wait_until("bars in a snapshot", lambda: picture_of(snapshot()).shows_bars())
                error = picture_of(snapshot()).bar_error()
                assert error <= 6, f"encoding {matrix}, quantization {levels}: {error} off, {picture_of(snapshot())}"
                assert program.stop() == 0, program.messages()
    finally:
        control(CAMERA, "y_cbcr_encoding", default)
        control(CAMERA, "quantization", default)


def can_be_read(path):
    try:
        with Reader(path) as reader:
            reader.frames(3)
        return True
    except OSError:
        return False


@device_test()
def camera_is_others_while_nobody_watches():
    show("bars")
    with Turbocam("--input", CAMERA, "--output", ADDRESS) as program:
        program.serving()
        for _ in range(2):
            with Viewer() as viewer:
                wait_until("bars in the stream", lambda: picture_of(viewer.fresh()).shows_bars())
                assert not can_be_read(CAMERA), "the camera streams for two"
            wait_until("another program has the camera", lambda: can_be_read(CAMERA))
        with Reader(CAMERA) as other:  # somebody who looks in meanwhile is told so
            other.frames(3)
            with Viewer() as viewer:
                wait_until("a notice", lambda: "busy" in program.state()["status"]["text"])
                picture = picture_of(viewer.fresh())
                assert not picture.shows_bars() and picture.detail() > 0.2, picture
            wait_until("it knows that nobody watches", lambda: program.state()["viewers"] == 0)
            time.sleep(1)
            other.close()
            for _ in range(20):  # nobody watches any more, so it is not taken back
                assert can_be_read(CAMERA), "the camera was taken for nobody"
                time.sleep(0.1)
        with Viewer() as viewer:
            wait_until("bars again", lambda: picture_of(viewer.fresh()).shows_bars())
        assert program.stop() == 0, program.messages()


@device_test()
def first_camera_is_found():
    show("bars")
    with Turbocam("--input", "camera", "--output", ADDRESS) as program:
        program.serving()
        wait_until("bars in a snapshot", lambda: picture_of(snapshot()).shows_bars())


@device_test(camera=f"{WEBCAM} multiplanar=2")
def multi_planar_camera():
    """As boards with a camera connector have it: the driver has V4L2's multi-planar API and no other."""
    status, output, messages = run("devices", "--json")
    assert status == 0 and CAMERA in output and "YUYV" in output, output + messages
    show("bars")
    with Turbocam("--input", "camera", "--output", ADDRESS) as program:
        program.serving()
        wait_until("bars in a snapshot", lambda: picture_of(snapshot()).shows_bars())
        with Viewer() as viewer:
            wait_until("bars in the stream", lambda: picture_of(viewer.fresh()).is_all_bars())
            show("red")
            wait_until("red in the stream", lambda: picture_of(viewer.fresh()).shows_plain(RED))
            viewer.goes_on()
        assert program.stop() == 0, program.messages()


@device_test(camera="none", loopback=TWO_LOOPBACKS)
def mjpeg_camera():
    with MJPEGCamera(), Turbocam("--input", "/dev/video20", "--output", ADDRESS) as program:
        program.serving()
        wait_until("bars in a snapshot", lambda: picture_of(snapshot()).shows_bars())


def broken(index, jpeg):
    """Two of three frames are broken, each in another way."""
    ways = [jpeg, jpeg[:len(jpeg) // 2], jpeg, jpeg[:200], jpeg, b"\0" * len(jpeg), jpeg, jpeg[2:],
            jpeg, b"\xff\xd8\xff\xd9", jpeg, jpeg[:len(jpeg) // 3] + b"\xff\xd9", jpeg, b"\x00"]
    return ways[index % len(ways)]


@device_test(camera="none", loopback=TWO_LOOPBACKS)
def broken_mjpeg_is_dropped_and_counted():
    with MJPEGCamera(spoil=broken), Turbocam("--input", "/dev/video20", "--output", ADDRESS) as program:
        program.serving()
        with Viewer() as viewer:
            wait_until("bars in the stream", lambda: picture_of(viewer.fresh()).shows_bars())
            for _ in range(10):
                picture = picture_of(viewer.fresh())
                assert picture.is_all_bars(), f"a broken frame came through: {picture}"
        assert wait_until("/state counts them", lambda: program.counter("corrupt|broken|bad|damaged")) >= 5


@device_test(camera="none", loopback=TWO_LOOPBACKS)
def only_broken_mjpeg_for_a_while():
    spoiling = [False]
    with MJPEGCamera(spoil=lambda index, jpeg: broken(2 * (index % 7) + 1, jpeg) if spoiling[0] else jpeg), \
            Turbocam("--input", "/dev/video20", "--output", ADDRESS) as program:
        program.serving()
        with Viewer() as viewer:
            wait_until("bars in the stream", lambda: picture_of(viewer.fresh()).shows_bars())
            spoiling[0] = True
            wait_until("a notice", lambda: not picture_of(viewer.fresh()).is_all_bars())
            viewer.goes_on()
            program.alive()
            spoiling[0] = False
            wait_until("bars again", lambda: picture_of(viewer.fresh()).shows_bars())
