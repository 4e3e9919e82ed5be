"""A V4L2 reader and writer with nothing but ioctl: struct layouts are linux/videodev2.h's on x86-64."""

import errno
import fcntl
import mmap
import os
import select
import struct
import subprocess
import time

CAPTURE, OUTPUT = 1, 2          # V4L2_BUF_TYPE_VIDEO_*, and the same bits in device_caps
MEMORY_MMAP = 1


def _request(direction, number, size):
    return direction << 30 | size << 16 | ord("V") << 8 | number


QUERYCAP = _request(2, 0, 104)
G_FMT, S_FMT = _request(3, 4, 208), _request(3, 5, 208)
REQBUFS = _request(3, 8, 20)
QUERYBUF, QBUF, DQBUF = (_request(3, n, 88) for n in (9, 15, 17))
STREAMON, STREAMOFF = _request(1, 18, 4), _request(1, 19, 4)


def device_caps(path):
    """The device's capability bits, or 0 where it cannot be opened."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return 0
    try:
        answer = bytearray(104)
        fcntl.ioctl(fd, QUERYCAP, answer)
        return struct.unpack_from("<I", answer, 88)[0]
    finally:
        os.close(fd)


def control(device, name, value):
    """Sets a driver control, as v4l2-ctl names it."""
    subprocess.run(["v4l2-ctl", "-d", device, "-c", f"{name}={value}"], check=True)


class _Stream:
    def __init__(self, path, kind):
        self.path, self.kind = path, kind
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.buffers = []

    def _ioctl(self, request, data):
        while True:
            try:
                fcntl.ioctl(self.fd, request, data)
                return data
            except InterruptedError:
                continue

    def format(self):
        """(width, height, fourcc, bytes an image)."""
        answer = self._ioctl(G_FMT, bytearray(struct.pack("<I204x", self.kind)))
        width, height, fourcc, _, _, size = struct.unpack_from("<II4sIII", answer, 8)
        return width, height, fourcc.decode("ascii", "replace"), size

    def set_format(self, width, height, fourcc):
        wanted = struct.pack("<I4xII4sI184x", self.kind, width, height, fourcc.encode(), 1)
        self._ioctl(S_FMT, bytearray(wanted))
        got = self.format()
        if got[:3] != (width, height, fourcc):
            raise OSError(errno.EINVAL, f"{self.path} took {got}, not {width}x{height} {fourcc}")

    def map_buffers(self, count=4):
        request = self._ioctl(REQBUFS, bytearray(struct.pack("<III8x", count, self.kind, MEMORY_MMAP)))
        count = struct.unpack_from("<I", request)[0]
        for index in range(count):
            answer = self._ioctl(QUERYBUF, self._buffer(index))
            offset, length = struct.unpack_from("<Q", answer, 64)[0], struct.unpack_from("<I", answer, 72)[0]
            self.buffers.append(mmap.mmap(self.fd, length, offset=offset))

    def _buffer(self, index=0, used=0):
        buffer = bytearray(88)
        struct.pack_into("<III", buffer, 0, index, self.kind, used)
        struct.pack_into("<I", buffer, 60, MEMORY_MMAP)
        return buffer

    def _dequeue(self, timeout):
        """The next buffer, or None when none comes in time."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            events = select.POLLIN if self.kind == CAPTURE else select.POLLOUT
            poll = select.poll()
            poll.register(self.fd, events)
            if left <= 0 or not poll.poll(left * 1000):
                return None
            try:
                return self._ioctl(DQBUF, self._buffer())
            except BlockingIOError:
                time.sleep(0.002)

    def start(self):
        self._ioctl(STREAMON, struct.pack("<i", self.kind))

    def close(self):
        while self.buffers:  # each holds the device open
            self.buffers.pop().close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Reader(_Stream):
    """Captures from a device in whatever format it has."""

    def __init__(self, path):
        super().__init__(path, CAPTURE)
        try:
            self.map_buffers()
            for index in range(len(self.buffers)):
                self._ioctl(QBUF, self._buffer(index))
            self.start()
        except OSError:
            self.close()
            raise

    def frames(self, count, seconds=90):
        """Waits for so many frames."""
        for number in range(count):
            buffer = self._dequeue(seconds)
            assert buffer is not None, f"frame {number + 1} of {count} did not come within {seconds} s"
            self._ioctl(QBUF, self._buffer(struct.unpack_from("<I", buffer)[0]))

    def arrivals(self, seconds):
        """Times at which frames came during that many seconds."""
        times, end = [], time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            buffer = self._dequeue(left)
            if buffer is None:
                break
            times.append(time.monotonic())
            self._ioctl(QBUF, self._buffer(struct.unpack_from("<I", buffer)[0]))
        return times


class Writer(_Stream):
    """Plays an MJPEG webcam into a loopback device: one write a frame, every buffer its own length."""

    def __init__(self, path, width, height, fourcc="MJPG"):
        super().__init__(path, OUTPUT)
        self.set_format(width, height, fourcc)
        self.map_buffers()
        self.free = list(range(len(self.buffers)))
        self.started = False

    def write(self, data):
        if self.free:
            index = self.free.pop()
        else:
            answer = self._dequeue(60)
            if answer is None:
                raise TimeoutError(f"{self.path} takes no more frames")
            index = struct.unpack_from("<I", answer)[0]
        self.buffers[index][: len(data)] = data
        self._ioctl(QBUF, self._buffer(index, len(data)))
        if not self.started:
            self.start()
            self.started = True
