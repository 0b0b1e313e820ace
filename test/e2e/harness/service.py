# SPDX-License-Identifier: Apache-2.0
"""What a cluster does around replicas: a Service that leads to the ready one, and a kubelet that restarts what has ended or does not answer."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from .control_plane import Partage, http_ok
from .process import Process

PROBE_PERIOD = 0.5


class Service(threading.Thread):
    """Forwards each new TCP connection to a replica whose /readyz says yes; refuses it when there is none. A connection stays where it is, as with kube-proxy."""

    def __init__(self, replicas: list[Partage]) -> None:
        super().__init__(daemon=True)
        self._replicas = replicas
        self._ready: list[Partage] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._stopped = threading.Event()
        threading.Thread(target=self._probe, daemon=True).start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def stop(self) -> None:
        self._stopped.set()
        self._listener.close()

    def _probe(self) -> None:
        while not self._stopped.wait(PROBE_PERIOD):
            self._ready = [replica for replica in self._replicas if http_ok(f"{replica.metrics_url}/readyz")]

    def _connect(self, client: socket.socket) -> None:
        try:
            target = urlsplit(self._ready[0].url)
            server = socket.create_connection((target.hostname, target.port), timeout=2)
        except (IndexError, OSError):
            return client.close()
        server.settimeout(None)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()
        return None

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)  # wakes the other direction, which closes it
        source.close()


class Kubelet(threading.Thread):
    """Restarts processes a second after they ended, and kills those that have a liveness probe and fail it three times, half a second apart."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._watched: dict[Process, Callable[[], bool] | None] = {}
        self._failures: dict[Process, int] = {}
        self._left_alone: set[Process] = set()
        self._stopped = threading.Event()

    def watch(self, process: Process, alive: Callable[[], bool] | None = None) -> None:
        self._watched[process] = alive
        self._failures[process] = 0

    def leave_alone(self, *processes: Process) -> None:
        """Their machine is gone: nobody restarts or kills them until care_for."""
        self._left_alone |= set(processes)

    def care_for(self, *processes: Process) -> None:
        self._left_alone -= set(processes)

    def run(self) -> None:
        while not self._stopped.wait(PROBE_PERIOD):
            for process, alive in self._watched.items():
                if process not in self._left_alone:
                    self._look_after(process, alive)

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _look_after(self, process: Process, alive: Callable[[], bool] | None) -> None:
        if not process.running:
            time.sleep(1)
            process.start()
        elif alive and time.monotonic() - process.started_at > 5:
            self._failures[process] = 0 if alive() else self._failures[process] + 1
            if self._failures[process] >= 3:
                self._failures[process] = 0
                process.kill()
