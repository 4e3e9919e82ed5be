"""Helpers of the device tests, and the list of tests."""

TESTS = {}

WEBCAM = "n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0 vid_cap_nr=0"
TWO_WEBCAMS = "n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0x0,0x0 vid_cap_nr=0,1"
ONE_LOOPBACK = "devices=1 video_nr=10 exclusive_caps=1 card_label=Turbocam"
OPEN_LOOPBACK = "devices=1 video_nr=10 exclusive_caps=0 card_label=Turbocam"
TWO_LOOPBACKS = "devices=2 video_nr=10,20 exclusive_caps=1,1 card_label=Turbocam,Webcam"


class Test:
    def __init__(self, function, camera, loopback, timeout, own_time):
        self.function, self.timeout = function, timeout
        self.drivers = ["--camera", camera, "--loopback", loopback] + ["--own-time"] * own_time
        self.name = function.__name__.replace("_", "-")


def device_test(camera=WEBCAM, loopback=ONE_LOOPBACK, timeout=420, own_time=False):
    """Registers a test: each one runs in a guest of its own, with drivers loaded as it asks.
    With `own_time` the guest's clock does not see how busy this machine is."""
    def register(function):
        test = Test(function, camera, loopback, timeout, own_time)
        TESTS[test.name] = test
        return function
    return register
