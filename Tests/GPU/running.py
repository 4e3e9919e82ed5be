"""Runs programs for Tests/GPU/check: what they told is kept, and nothing of theirs is left on the GPU."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import ways

ROOT = Path(__file__).resolve().parent.parent.parent
# What a program tells of something that it is at.
BEGAN = "began"


class Runner:
    """`environment`: of all programs. `seconds`: of everything together. `patience`: how many times as long as on a GPU
    anything may take."""

    def __init__(self, environment, seconds, patience):
        self.environment, self.start, self.seconds = environment, time.monotonic(), seconds
        self.patience = patience
        self.groups = set()

    def end_all(self):
        for group in list(self.groups):
            self.end(group)

    @staticmethod
    def end(group):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass

    @property
    def left(self):
        return self.seconds - (time.monotonic() - self.start)

    def run(self, command, limit, **more):
        """Standard output, which may be cut short: what ran too long is ended with all that it started, and keeps what
        it said. `more` goes into its environment."""
        limit = max(5, min(limit * self.patience, self.left - 5))
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, env=self.environment | more, cwd=ROOT,
                start_new_session=True,
            )
            self.groups.add(process.pid)
            try:
                output, late = process.communicate(timeout=limit)[0], False
            except subprocess.TimeoutExpired:
                self.end(process.pid)
                output, late = process.communicate()[0], True
            # What it started and did not wait for.
            self.end(process.pid)
            self.groups.discard(process.pid)
            errors.seek(0)
            said = errors.read()[-3000:].decode(errors="replace")
        return output.decode(errors="replace"), process.returncode, late, said

    def ask(self, command, limit, **more):
        """What a program told in lines of JSON; "passed" is its exit code. What it was at when it ended before its time
        is told as failed."""
        output, code, late, said = self.run(command, limit, **more)
        found = ways.read_lines(output)
        reason = "took too long" if late else f"ended with {code}"
        for name in [name for name, value in found.items() if value == BEGAN]:
            found[name] = {"passed": False, "error": f"{reason} at this: {found.get('error') or said[-500:]}"}
            found["ended_at"] = name
        found["passed"] = code == 0 and not late
        if late:
            found["error"] = "took too long; what there was time for is kept"
        elif code not in (0, 1):
            found.setdefault("error", f"{reason}: {said or output[-500:]}")
        return found

    def ask_all(self, command, limit, most=40, **more):
        """The same of a program that goes through a list: where it ends in the middle, it is started again behind what
        it was at, for a GPU that is lost is lost to that process alone."""
        found, end = {}, time.monotonic() + limit * self.patience
        passed, last = True, None
        for _ in range(most):
            left = (end - time.monotonic()) / self.patience
            some = self.ask(command + ([last] if last else []), left, **more)
            passed = passed and some.pop("passed")
            error, stop = some.pop("error", None), some.pop("ended_at", None)
            found |= some
            if stop is None or stop == last or end - time.monotonic() < 5:
                break
            last = stop
        found["passed"] = passed
        if error:
            found["error"] = error
        return found
