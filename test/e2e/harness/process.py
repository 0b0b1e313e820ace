# SPDX-License-Identifier: Apache-2.0
"""Child processes that cannot outlive the test, and ports for them."""

import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def free_port() -> int:
    """A loopback port nobody listens on, below the range from which outgoing connections take theirs: a program killed there can start there again."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def eventually(what: str, condition: Callable[[], object], timeout: float = 30, every: float = 0.02) -> object:
    """Waits until `condition` returns something true, and returns that. AssertionError with `what` and its last answer after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what} (last answer: {answer!r})")
        time.sleep(every)


class Process:
    """One child; stdout and stderr go to `log`, which later starts append to. Killed by the kernel when this test dies. Use from the main thread."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.started_at = 0.0
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.command], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.started_at = time.monotonic()

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} was not started"
        return self._child.pid

    def wait_ready(self, ready: Callable[[], bool], timeout: float = 30) -> None:
        def answer() -> bool:
            assert self.running, f"{self.name} ended before it was ready:\n{self.log_tail()}"
            return ready()

        eventually(f"{self.name} is ready", answer, timeout)

    def kill(self) -> None:
        """SIGKILL: no last words."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def stop(self, grace: float = 5) -> int:
        """SIGTERM, after `grace` seconds SIGKILL. Returns the exit status, negative for a signal."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(grace)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
