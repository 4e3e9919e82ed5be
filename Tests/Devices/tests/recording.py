"""Clips that end early: by a signal, or by a full disk."""

import json
import os
import signal
import subprocess
import time

from support import device_test
from support.camera import CAMERA, show
from support.picture import picture_of, pictures
from support.program import ADDRESS, Turbocam, Viewer, wait_until


def probe(path):
    """What ffprobe says of a clip: (seconds, codec, decoded frames)."""
    done = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-show_entries",
                           "format=duration:stream=codec_name,nb_read_frames", "-of", "json", path],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, f"ffprobe refuses {path}: {done.stderr.decode()}"
    facts = json.loads(done.stdout)
    stream = facts["streams"][0]
    return float(facts["format"]["duration"]), stream["codec_name"], int(stream["nb_read_frames"])


def record_until(how, path):
    show("bars")
    with Turbocam("--input", CAMERA, "--output", path, "--output", ADDRESS) as program:
        program.serving()
        with Viewer() as viewer:
            wait_until("bars in the stream", lambda: picture_of(viewer.fresh()).shows_bars())
            began = time.monotonic()
            count = len(viewer.times)
            wait_until("pictures for six seconds",
                       lambda: time.monotonic() - began > 6 and len(viewer.times) > count + 10)
            seconds = time.monotonic() - began
            status = program.stop(how)
        assert status in (0, 128 + how), f"status {status}: {program.messages()}"
    duration, codec, frames = probe(path)
    print(f"recorded {seconds:.1f} s: {duration:.1f} s, {frames} frames, {codec}")
    assert codec == "h264", codec
    assert seconds * 0.6 <= duration <= seconds + 60, f"{duration} s of clip for {seconds:.0f} s at least"
    assert frames >= 6, f"{frames} frames"
    assert pictures("-ss", str(duration / 2), "-i", path)[0].shows_bars()


@device_test()
def clip_survives_sigterm():
    record_until(signal.SIGTERM, "/tmp/clip.mp4")


@device_test()
def clip_survives_interrupt():
    record_until(signal.SIGINT, "/tmp/clip.mp4")


@device_test()
def full_disk_ends_only_the_recording():
    os.makedirs("/tmp/small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "small", "/tmp/small"], check=True)
    clip = "/tmp/small/clip.mp4"
    show("bars")
    with Turbocam("--input", CAMERA, "--output", clip, "--output", ADDRESS) as program:
        program.serving()
        wait_until("a clip that grows", lambda: os.path.exists(clip) and os.path.getsize(clip) > 3000)
        show("noise")  # fills six megabytes soon
        wait_until("an error that names the clip", lambda: f"writing {clip}" in program.messages())
        assert "space" in program.messages(), "the error does not say what is wrong"
        with Viewer() as viewer:
            show("bars")
            wait_until("bars in the stream", lambda: picture_of(viewer.fresh()).shows_bars())
        assert pictures("-i", clip)[0].shows_bars(), "the clip does not play from its start"
        assert program.stop() != 0, "the exit status does not tell of the failed recording"
    duration, _, frames = probe(clip)
    assert frames >= 1 and duration > 0, f"{frames} frames in {duration} s"


@device_test(timeout=300)
def full_disk_from_the_start():
    """A disk that takes a picture or two leaves a clip that plays, one that takes none leaves no clip; the stream
    runs on in both."""
    show("noise")
    for size, fits in (("16k", False), ("768k", True)):
        folder = f"/tmp/disk-of-{size}"
        os.makedirs(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", folder], check=True)
        clip = f"{folder}/clip.mp4"
        with Turbocam("--input", CAMERA, "--output", clip, "--output", ADDRESS) as program:
            program.serving()
            wait_until("an error that names the clip", lambda: f"writing {clip}" in program.messages(), 120)
            assert "space" in program.messages(), "the error does not say what is wrong"
            assert ("removed" in program.messages()) != fits, "the error is wrong about the file"
            with Viewer() as viewer:
                viewer.fresh()
                viewer.fresh()
            assert program.stop() != 0, "the exit status does not tell of the failed recording"
        assert os.path.exists(clip) == fits, os.listdir(folder)
        if fits:
            _, _, frames = probe(clip)
            assert frames >= 1, f"{frames} frames"
            assert pictures("-i", clip)[0].detail() > 1, "the clip shows nothing"
