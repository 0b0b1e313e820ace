#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pods a second on a real control plane, with partage-scheduler as kube-scheduler's extender and with kube-scheduler alone.

Both take turns on one cluster (A B A B …), each started fresh for its turn, so that nothing of the other's runs beside it. A turn is a burst of pods, timed
from the first create to the last Binding. Prints "ID VALUE" lines on stdout, progress on stderr.
"""

import argparse
import json
import shutil
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from harness.api import PODS, Object  # noqa: E402
from harness.control_plane import ROOT, ControlPlane, Extender  # noqa: E402
from harness.objects import Node, Pod  # noqa: E402
from harness.process import Process, eventually  # noqa: E402

NODES = (50, 500, 5000)
BURST = 1000
WARM_UP = 20
TURNS = 5
CONNECTIONS = 8


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


class Creator:
    """Creates pods with as little work of its own as can be: requests are built beforehand, replies hardly looked at. What is measured shares the CPU."""

    def __init__(self, control_plane: ControlPlane) -> None:
        text = control_plane.kubeconfig("creator", token="admin-token").read_text()
        self._port = int(self._after(text, "server: https://127.0.0.1:"))
        self._tls = ssl.create_default_context(cafile=self._after(text, "certificate-authority: "))

    def create(self, pods: list[Object]) -> None:
        requests = [self._request(pod) for pod in pods]
        threads = [threading.Thread(target=self._send, args=(requests[start::CONNECTIONS],)) for start in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @staticmethod
    def _after(text: str, key: str) -> str:
        return text.partition(key)[2].partition("\n")[0]

    @staticmethod
    def _request(pod: Object) -> bytes:
        body = json.dumps(pod, separators=(",", ":")).encode()
        head = f"POST {PODS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer admin-token\r\n"
        return head.encode() + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def _send(self, requests: list[bytes]) -> None:
        with self._tls.wrap_socket(socket.create_connection(("127.0.0.1", self._port)), server_hostname="127.0.0.1") as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for request in requests:
                connection.sendall(request)
                reply = self._read_reply(connection)
                assert reply.startswith(b"HTTP/1.1 201"), reply.decode(errors="replace")

    @staticmethod
    def _read_reply(connection: ssl.SSLSocket) -> bytes:
        reply = b""
        while True:
            piece = connection.recv(65536)
            assert piece, "kube-apiserver closed the connection"
            reply += piece
            head, blank, body = reply.partition(b"\r\n\r\n")
            length = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
            if blank and (len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n")):
                return reply


class Contest:
    """A cluster of so many nodes, on which the two take turns."""

    def __init__(self, nodes: int, folder: Path) -> None:
        folder.mkdir()
        self._control_plane = ControlPlane(folder)
        self._control_plane.start()
        self._api = self._control_plane.api
        self._creator = Creator(self._control_plane)
        self._api.create_nodes(*(Node(f"gpu-node-{index:05}.cluster.example").gpus(8).build() for index in range(nodes)))

    def close(self) -> None:
        self._control_plane.stop()

    def turn(self, with_partage: bool, pods: int) -> float:
        """Pods a second."""
        name = "with-partage" if with_partage else "alone"
        processes = self._start(name, with_partage)
        quantities = {"gpu": 1, "gpumem": 2000, "gpucores": 5} if with_partage else {}
        self._burst("warm-up", name, WARM_UP, quantities)
        rate = self._burst("burst", name, pods, quantities)
        for process in processes:
            process.kill()
        self._api.call("DELETE", PODS, {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
        eventually("the pods are gone", lambda: not self._api.pods(), timeout=60)
        return rate

    def _start(self, name: str, with_partage: bool) -> list[Process]:
        if not with_partage:
            return [self._control_plane.start_kube_scheduler(None, name)]
        partage = self._control_plane.start_partage("--log-level", "warn")
        return [self._control_plane.start_kube_scheduler(Extender(partage.url), name), partage]

    def _burst(self, prefix: str, scheduler: str, count: int, quantities: dict[str, int]) -> float:
        pods = [Pod(f"{prefix}-{index:04}").container(**quantities).spec(schedulerName=scheduler).build() for index in range(count)]
        began = time.monotonic()
        self._creator.create(pods)
        created = time.monotonic()
        eventually(f"{count} pods are bound", self._all_bound, timeout=300)
        rate = count / (time.monotonic() - began)
        if prefix == "burst":
            say(f"{scheduler}: {rate:.0f} pods/s (created at {count / (created - began):.0f}/s)")
        return rate

    def _all_bound(self) -> bool:
        return not self._api.call("GET", f"{PODS}?fieldSelector=spec.nodeName%3D&limit=1")["items"]


def measure(nodes: int, folder: Path, pods: int) -> tuple[float, float]:
    """Median pods a second with us, and alone."""
    say(f"{nodes} nodes, bursts of {pods} pods")
    contest = Contest(nodes, folder)
    try:
        rates = [(contest.turn(True, pods), contest.turn(False, pods)) for _ in range(TURNS)]
    finally:
        contest.close()
    with_partage, alone = (statistics.median(column) for column in zip(*rates, strict=True))
    say(f"{nodes} nodes: {with_partage:.0f} pods/s with Partage, {alone:.0f} alone")
    return with_partage, alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shrink", type=int, default=1, help="divide all sizes by this: for trying, not for measuring")
    parser.add_argument("--only", default="", help="only measurements whose id begins so")
    arguments = parser.parse_args()
    parent = ROOT / "build/bench"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    for nodes in NODES:
        ids = [f"e2e_ratio_{nodes}n"] + (["e2e_pods_per_s_5000n"] if nodes == 5000 else [])
        if not any(name.startswith(arguments.only) for name in ids):
            continue
        ours, alone = measure(nodes // arguments.shrink, folder / f"{nodes}", BURST // arguments.shrink)
        for name, value in zip(ids, (ours / alone, ours), strict=False):
            if name.startswith(arguments.only):
                print(f"{name} {value:.6g}", flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
