"""The program under test as a process, and a viewer of its stream."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

BINARY = os.environ.get("TURBOCAM", "turbocam")
PORT = 8080
ADDRESS = f"http://127.0.0.1:{PORT}"


def wait_until(what, condition, seconds=90, every=0.2):
    """Polls until the condition gives something true, and gives it back. Limits here are for what never comes, so
    generous: on a busy machine the guest may stand still for seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(every)


# In front of a command: root without the right to open what is others'. Where the checkout is somebody's own, as him.
ORDINARY_USER = ["setpriv", "--reuid", str(os.stat(BINARY).st_uid) if os.path.exists(BINARY) else "0",
                 "--clear-groups", "--bounding-set=-dac_override,-dac_read_search"]


def run(*arguments, seconds=120, prefix=()):
    """Runs the program to its end: (exit status, stdout, stderr)."""
    done = subprocess.run([*prefix, BINARY, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=seconds)
    return done.returncode, done.stdout.decode(), done.stderr.decode("utf-8", "replace")


def get(path, seconds=60, statuses=(b"200",)):
    """Body of a GET to the program's own server. Hand-made: http.client takes a second to load in the guest."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=seconds) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
            head, separator, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head) if separator else None
            if length and len(body) >= int(length[1]):
                break
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ")[1] if b" " in head else b"none"
    assert status in statuses, f"GET {path} answered {status.decode()}: {body[:300]!r}"
    return body


def snapshot(path="/snapshot"):
    """The JPEG of a snapshot; while there is no picture, of the notice that says why."""
    return get(path, statuses=(b"200", b"503"))


class Turbocam:
    """`turbocam run` in the background, passing pictures through unless told otherwise."""

    def __init__(self, *arguments, model="none"):
        self.log = tempfile.NamedTemporaryFile(prefix="turbocam.", suffix=".log")
        self.process = subprocess.Popen([BINARY, "run", "--model", model, *arguments], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind is not None:
            print(f"--- turbocam's stderr (status {self.process.returncode}):\n{self.messages()[-4000:]}---")

    def messages(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return log.read()

    def alive(self):
        assert self.process.poll() is None, f"turbocam ended with status {self.process.returncode}"
        return True

    def serving(self, seconds=120):
        """Waits until the server answers."""
        def answers():
            self.alive()
            try:
                return self.state() is not None
            except OSError:
                return False
        wait_until("the server answers /state", answers, seconds)
        return self

    def state(self):
        return json.loads(get("/state"))

    def counter(self, pattern):
        """Sum of the numbers in /state whose dotted name matches."""
        return sum(value for name, value in leaves(self.state())
                   if re.search(pattern, name, re.IGNORECASE) and isinstance(value, (int, float)))

    def stop(self, with_signal=signal.SIGTERM, seconds=90):
        """Asks the program to end and gives its exit status."""
        self.alive()
        self.process.send_signal(with_signal)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {seconds} s after {with_signal.name}") from None


def leaves(value, name=""):
    """Every scalar in a JSON value with its dotted name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{name}.{index}")
    else:
        yield name, value


class Viewer:
    """Watches /stream as a browser would; keeps the newest JPEG and the time of each."""

    def __init__(self, path="/stream"):
        self.times, self.jpeg, self.error = [], None, None
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=90)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.head = self._headers()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The file on it keeps a socket open that is only closed.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _headers(self):
        head = b""
        while line := self.file.readline():
            head += line
            if line == b"\r\n" and head.strip():
                break
        return head.decode("latin-1")

    def _watch(self):
        try:
            chunked = "chunked" in self.head.lower()
            source = _Chunked(self.file) if chunked else self.file
            while True:
                length = None
                while True:
                    line = source.readline()
                    if not line:
                        return
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                    if line == b"\r\n" and length is not None:
                        break
                self.jpeg = source.read(length)
                self.times.append(time.monotonic())
        except (OSError, ValueError) as error:
            self.error = error

    def fresh(self, seconds=60):
        """The first JPEG that comes from now on."""
        count = len(self.times)
        wait_until("the stream goes on", lambda: len(self.times) > count, seconds, every=0.02)
        return self.jpeg

    def goes_on(self, count=10):
        """Waits for so many more JPEGs: a stream that is dead sends none."""
        for _ in range(count):
            self.fresh()


class _Chunked:
    """The bytes inside HTTP's chunked transfer coding (RFC 9112, section 7.1)."""

    def __init__(self, file):
        self.file, self.buffer = file, b""

    def _more(self):
        size = int(self.file.readline().split(b";")[0] or b"0", 16)
        data = self.file.read(size)
        self.file.readline()
        self.buffer += data
        return bool(data)

    def readline(self):
        while b"\n" not in self.buffer and self._more():
            pass
        line, separator, self.buffer = self.buffer.partition(b"\n")
        return line + separator

    def read(self, count):
        while len(self.buffer) < count and self._more():
            pass
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data
