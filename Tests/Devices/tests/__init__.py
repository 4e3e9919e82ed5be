"""The device tests, one file a subject."""

from . import cameras, doctor, loopback, recording, faults, refusals, repaint, service  # noqa: F401
