"""systemd in the guest, and turbocam as a service of it, installed as systemd/README.md says."""

import os
import re
import shutil
import subprocess

from support.program import BINARY, wait_until

PREFIX = "/usr/local"
UNIT = "turbocam@desk.service"


def systemd():
    """Starts systemd as the first process of a namespace, with udev and its journal, and gives its process number."""
    subprocess.run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"], check=True)
    # What a container lacks is not waited for, and no terminal is asked for a password.
    first = subprocess.Popen(["unshare", "--fork", "--pid", "--mount", "--mount-proc", "/lib/systemd/systemd", "--system",
                              "--unit=multi-user.target"], env={**os.environ, "container": "guest"},
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = f"/proc/{first.pid}/task/{first.pid}/children"

    def child():
        with open(children, encoding="ascii") as file:
            return file.read().strip()
    return wait_until("systemd has a process", child)


class Service:
    """The unit with a configuration: `example.conf`'s lines, with those given in the place of its own."""

    def __init__(self, **settings):
        install()
        configure(**settings)
        self.first = systemd()
        wait_until("systemd answers", lambda: self.systemctl("is-system-running") in ("running", "degraded"), 300)

    def inside(self, *command):
        done = subprocess.run(["nsenter", "-t", self.first, "-m", "-p", "-r", "-w", *command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout.decode("utf-8", "replace").strip()

    def systemctl(self, *arguments):
        return self.inside("systemctl", "--no-pager", *arguments)

    def shows(self, name):
        return self.systemctl("show", "--value", "-p", name, UNIT)

    def process(self):
        """The program's number in systemd's namespace, 0 where it does not run."""
        return int(self.shows("MainPID") or 0)

    def owner(self):
        """The number of the user that the program runs as."""
        return int(self.inside("stat", "--format", "%u", f"/proc/{self.process()}"))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.systemctl("status", "--full", UNIT), self.inside("journalctl", "--no-pager", "-u", UNIT)[-4000:], sep="\n---\n")


def install():
    """The program, what it is linked to that no other user may read, and the unit as `make install` writes it."""
    project = os.environ["PROJECT"]
    shutil.copy(BINARY, f"{PREFIX}/bin/turbocam")
    linked = subprocess.run(["ldd", BINARY], check=True, stdout=subprocess.PIPE).stdout.decode()
    for library in re.findall(r"=> (\S*swift\S*)", linked):
        shutil.copy(library, f"{PREFIX}/lib")
    subprocess.run(["ldconfig"], check=True)
    with open(f"{project}/systemd/turbocam@.service", encoding="utf-8") as file:
        unit = file.read().replace("@PREFIX@", PREFIX)
    os.makedirs(f"{PREFIX}/lib/systemd/system", exist_ok=True)
    with open(f"{PREFIX}/lib/systemd/system/turbocam@.service", "w", encoding="utf-8") as file:
        file.write(unit)


def configure(**settings):
    with open(f"{os.environ['PROJECT']}/systemd/example.conf", encoding="utf-8") as file:
        text = file.read()
    for name, value in settings.items():
        assert re.search(rf"(?m)^{name}=", text), f"example.conf has no {name}"
        text = re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", text)
    os.makedirs("/etc/turbocam", exist_ok=True)
    with open("/etc/turbocam/desk.conf", "w", encoding="utf-8") as file:
        file.write(text)
