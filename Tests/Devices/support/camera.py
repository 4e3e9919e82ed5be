"""The two cameras the tests have: vivid's webcam, and a loopback device fed with MJPEG."""

import glob
import os
import subprocess
import tempfile
import threading
import time

from .v4l2 import CAPTURE, Writer, control, device_caps
from .program import wait_until

CAMERA = "/dev/video0"
DRIVER = "/sys/bus/platform/drivers/vivid"
PATTERNS = {"bars": 0, "red": 7, "blue": 9, "noise": None}
RED = (255, 0, 0)


def show(pattern, device=CAMERA):
    """Makes vivid draw a pattern, without its running text."""
    number = PATTERNS[pattern]
    if number is None:  # its place differs between kernels
        menu = subprocess.run(["v4l2-ctl", "-d", device, "-L"], check=True, stdout=subprocess.PIPE).stdout.decode()
        number = next(line.split(":")[0].strip() for line in menu.splitlines() if line.strip().endswith(": Noise"))
    control(device, "osd_text_mode", 2)
    control(device, "test_pattern", number)


def unplug():
    """Takes the camera away under whoever streams from it: ENODEV, and the node vanishes."""
    with open(f"{DRIVER}/unbind", "w", encoding="ascii") as file:
        file.write("vivid.0")
    wait_until("the camera's node is gone", lambda: not os.path.exists(CAMERA))


def plug_in():
    with open(f"{DRIVER}/bind", "w", encoding="ascii") as file:
        file.write("vivid.0")
    wait_until("the camera's node is there", lambda: device_caps(CAMERA) & CAPTURE)


def plug_in_as(number):
    """Brings the camera back under another number, after unplug()."""
    def unloaded():  # refused for as long as the program keeps the lost camera open
        return subprocess.run(["modprobe", "-r", "vivid"], stderr=subprocess.DEVNULL).returncode == 0
    wait_until("the program closes the camera that is gone", unloaded)
    subprocess.run(["modprobe", "vivid", "n_devs=1", "node_types=0x1", "num_inputs=1", "input_types=0x0",
                    f"vid_cap_nr={number}"], check=True)
    path = f"/dev/video{number}"
    wait_until(f"{path} is there", lambda: device_caps(path) & CAPTURE)
    return path


class MJPEGCamera:
    """Plays JPEGs into a loopback device at a steady rate, as an MJPEG webcam would.
    `spoil(index, jpeg)` gives the bytes to send for each frame."""

    def __init__(self, path="/dev/video20", width=640, height=480, rate=15, spoil=lambda index, jpeg: jpeg):
        self.spoil, self.rate, self.sent, self.failure = spoil, rate, 0, None
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi", "-i",
                            f"pal75bars=size={width}x{height}:rate=1", "-frames:v", "1", "-pix_fmt", "yuvj420p",
                            "-q:v", "4", f"{folder}/%d.jpg"], check=True)
            with open(glob.glob(f"{folder}/*.jpg")[0], "rb") as file:
                self.jpeg = file.read()
        self.writer = Writer(path, width, height)
        self.ending = False
        self.thread = threading.Thread(target=self._play, daemon=True)
        self.thread.start()
        wait_until(f"{path} is a camera", lambda: device_caps(path) & CAPTURE)

    def _play(self):
        try:
            while not self.ending:
                self.writer.write(self.spoil(self.sent, self.jpeg))
                self.sent += 1
                time.sleep(1 / self.rate)
        except (OSError, TimeoutError) as error:
            self.failure = error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join(60)
        self.writer.close()
        assert self.failure is None, f"the MJPEG camera stopped: {self.failure}"
