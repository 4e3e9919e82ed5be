"""turbocam as a service of systemd, by the unit in systemd/ with all that it forbids."""

import time

from support import device_test
from support.camera import CAMERA, show
from support.picture import picture_of, pictures
from support.program import ADDRESS, Viewer, wait_until
from support.service import UNIT, Service, configure
from tests.loopback import VIRTUAL, is_camera, loopback_picture

OPTIONS = f"--model none --output {ADDRESS}"


def streams_bars():
    try:
        with Viewer() as viewer:
            return picture_of(viewer.fresh(20)).shows_bars()
    except (OSError, AssertionError):
        return False


@device_test(timeout=900)
def service_repaints_and_comes_back():
    show("bars")
    with Service(INPUT=CAMERA, OUTPUT=VIRTUAL, OPTIONS=f"{OPTIONS} --output clip.mkv") as service:
        service.systemctl("start", UNIT)
        wait_until("bars in the stream", streams_bars, 120)
        wait_until("the loopback is a camera", is_camera, 60)
        wait_until("bars on the loopback", lambda: loopback_picture().shows_bars(), 120)
        first = service.process()
        assert service.owner() not in (0, 65534), f"it runs as user {service.owner()}"
        # What ends it by accident is mended after five seconds.
        service.inside("kill", "-KILL", str(first))
        wait_until("another process", lambda: service.process() not in (0, first))
        wait_until("bars in the stream again", streams_bars, 120)
        assert service.shows("NRestarts") == "1", service.shows("NRestarts")
        time.sleep(3)
        service.systemctl("stop", UNIT)
        assert service.shows("ActiveState") == "inactive" and service.shows("Result") == "success", service.systemctl("status", UNIT)
        clip = service.inside("find", "/var/lib/private/turbocam/desk", "-name", "clip*.mkv", "-size", "+1k")
        assert clip, service.inside("ls", "-lR", "/var/lib/private/turbocam")
        assert pictures("-i", clip.split("\n")[-1])[0].shows_bars()


@device_test(timeout=900, camera="none")
def service_waits_for_its_camera_and_refuses_wrong_options():
    with Service(INPUT=CAMERA, OUTPUT=VIRTUAL, OPTIONS=OPTIONS) as service:
        service.systemctl("start", UNIT)
        wait_until("a second try without a camera", lambda: int(service.shows("NRestarts") or 0) >= 2)
        service.systemctl("stop", UNIT)
        # A wrong option stays wrong: it is told once, and not tried again.
        configure(INPUT=CAMERA, OUTPUT=VIRTUAL, OPTIONS="--strength twice")
        service.systemctl("start", UNIT)
        wait_until("the unit has failed", lambda: service.shows("ActiveState") == "failed")
        assert service.shows("ExecMainStatus") == "64", service.systemctl("status", UNIT)
        time.sleep(8)
        assert service.shows("ActiveState") == "failed" and service.shows("NRestarts") == "0", service.systemctl("status", UNIT)
