"""What `turbocam doctor` says of cameras and virtual cameras, by what is there."""

import json
import os
import subprocess

from support import OPEN_LOOPBACK, device_test
from support.camera import CAMERA
from support.program import ADDRESS, ORDINARY_USER, Turbocam, run, wait_until
from support.v4l2 import CAPTURE, device_caps

VIRTUAL = "/dev/video10"


def check(name, prefix=()):
    """One check of doctor's: (found, fact, remedy)."""
    _, output, messages = run("doctor", "--json", prefix=prefix)
    assert output, messages
    (found,) = [check for check in json.loads(output)["checks"] if check["name"] == name]
    return found["found"], found["fact"], found["remedy"] or ""


@device_test()
def doctor_finds_both_cameras():
    assert check("camera") == (True, f"{CAMERA} (vivid)", ""), check("camera")
    assert check("virtual camera") == (True, f"{VIRTUAL} (Turbocam)", ""), check("virtual camera")
    # While it is written to, the virtual camera is one to read from, and no output.
    with Turbocam("--input", "test", "--output", VIRTUAL):
        wait_until("the loopback is a camera", lambda: device_caps(VIRTUAL) & CAPTURE)
        assert check("camera")[1] == f"{CAMERA} (vivid)", check("camera")
        found, fact, remedy = check("virtual camera")
        assert found and fact.startswith(f"{VIRTUAL} (Turbocam)") and "writes" in fact and not remedy, fact


@device_test(camera="none")
def doctor_takes_no_virtual_camera_for_a_camera():
    with Turbocam("--input", "test", "--output", VIRTUAL):
        wait_until("the loopback is a camera", lambda: device_caps(VIRTUAL) & CAPTURE)
        found, fact, remedy = check("camera")
        assert not found and "virtual" in fact and VIRTUAL in fact and "uvcvideo" in remedy, fact


@device_test(loopback=OPEN_LOOPBACK)
def doctor_warns_of_a_virtual_camera_that_browsers_do_not_list():
    found, fact, remedy = check("virtual camera")
    assert found and VIRTUAL in fact and "exclusive_caps=1" in fact, fact
    lines = remedy.split("\n")
    assert lines[0] == "sudo modprobe -r v4l2loopback" and "exclusive_caps=1" in lines[1], remedy
    for line in lines:  # what it says does what it says
        subprocess.run(line.removeprefix("sudo ").split(), check=True)
    assert check("virtual camera") == (True, f"{VIRTUAL} (turbocam)", ""), check("virtual camera")


@device_test(loopback="none")
def doctor_makes_a_virtual_camera():
    found, fact, remedy = check("virtual camera")
    assert not found and "not loaded" in fact, fact
    subprocess.run(remedy.removeprefix("sudo ").split(), check=True)
    assert check("virtual camera") == (True, f"{VIRTUAL} (turbocam)", ""), check("virtual camera")
    # Loaded already, with no device of that number: modprobe alone would do nothing.
    status, _, said = run("run", "--model", "none", "--input", "test", "--output", "/dev/video11")
    assert status == 69 and "modprobe -r v4l2loopback && sudo modprobe v4l2loopback video_nr=11" in said, said


@device_test()
def what_may_not_be_opened_is_told():
    for path in (CAMERA, VIRTUAL):
        os.chown(path, 65534, 65534)
        os.chmod(path, 0o600)
    found, fact, remedy = check("camera", ORDINARY_USER)
    assert not found and CAMERA in fact and "EACCES" in fact and "usermod -aG video" in remedy, fact
    found, fact, remedy = check("virtual camera", ORDINARY_USER)
    assert not found and VIRTUAL in fact and "EACCES" in fact and "usermod -aG video" in remedy, fact
    _, output, _ = run("devices", prefix=ORDINARY_USER)
    assert f"{CAMERA} (" in output and "EACCES" in output, output
    status, _, said = run("run", "--model", "none", "--input", "camera", "--output", ADDRESS, prefix=ORDINARY_USER)
    assert status == 77 and CAMERA in said and "usermod -aG video" in said, f"status {status}: {said}"
    # Nobody asked for a camera: the demo clip is shown, and why.
    _, _, said = run("run", "--model", "none", "--frames", "1", "--output", "/tmp/shown.jpg", prefix=ORDINARY_USER)
    assert "demo clip" in said and CAMERA in said and "usermod -aG video" in said, said
