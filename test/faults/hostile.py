#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm against the real partage-scheduler, while one that does not is timed.

usage: hostile.py PARTAGE-SCHEDULER [--full]

Attacks one after another: slow-loris connections (a byte now and then, never a whole header), bodies far over the limit, bodies that promise and do not deliver,
JSON as deep as it gets, headers without end, connections that only open and close. Exit status 1 when the healthy client is refused or kept waiting, when the
process ends, or when its memory or its descriptors do not come back. --full: 10,000 connections and 1 GB bodies; otherwise a twentieth of it, for every test run.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import multiprocessing.synchronize
import os
import random
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HOST = "127.0.0.1"
CLUSTER = "nodes:\n  - name: n#\n    count: 8\n    devices: [{model: NVIDIA L4, count: 8, memoryMiB: 23034}]\n"
NODES = [f"n{number}" for number in range(1, 9)]
MOST_RSS_GROWTH_MIB = 256  # one body of  for each attacker that may send one at a time, and some
MOST_P99_MS = 250  # of a healthy client on a busy machine; kube-scheduler's own limit is seconds


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Scheduler:
    def __init__(self, program: str, folder: Path) -> None:
        (folder / "cluster.yaml").write_text(CLUSTER)
        config = folder / "config.yaml"
        config.write_text("maxBodyMiB: 16\n")
        self.port, self.metrics_port, self.tls_port = free_port(), free_port(), free_port()
        certificate = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=webhook", "-days", "2"]
        subprocess.run([*certificate, "-keyout", folder / "webhook.key", "-out", folder / "webhook.crt"], check=True, capture_output=True)
        command = [program, "--cluster", f"sim:{folder}/cluster.yaml", "--listen", f"{HOST}:{self.port}", "--metrics-listen", f"{HOST}:{self.metrics_port}"]
        command += ["--webhook-listen", f"{HOST}:{self.tls_port}"]
        command += ["--webhook-tls-cert-file", f"{folder}/webhook.crt", "--webhook-tls-key-file", f"{folder}/webhook.key"]
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen([*command, "--config", str(config), "--log-level", "error"], stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + 20
        while self.status("/readyz") != 200:
            assert time.monotonic() < deadline and self.running(), f"not ready: {(folder / 'log').read_text()}"
            time.sleep(0.02)

    def status(self, path: str) -> int:
        connection = http.client.HTTPConnection(HOST, self.metrics_port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def running(self) -> bool:
        return self._process.poll() is None

    def rss_mib(self) -> float:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()


# --- The healthy client, in a process of its own ---


def pod(serial: int) -> dict[str, object]:
    limits = {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "100"}
    metadata = {"name": f"p{serial}", "namespace": "default", "uid": f"uid-{serial}"}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main", "resources": {"limits": limits}}]}}


def serve_healthy(port: int, stop: multiprocessing.synchronize.Event, answers: multiprocessing.Queue) -> None:
    """Filters as kube-scheduler does, on one connection, fifty a second; puts each latency in ms, or what went wrong."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    serial = 0
    while not stop.is_set():
        serial += 1
        body = json.dumps({"Pod": pod(serial % 50), "Nodes": None, "NodeNames": NODES})
        began = time.monotonic()
        try:
            connection.request("POST", "/filter", body)
            reply = connection.getresponse()
            fitting = json.loads(reply.read())["NodeNames"]
            answers.put((time.monotonic() - began) * 1000 if reply.status == 200 and fitting else f"answered {reply.status} {fitting}")
        except (OSError, http.client.HTTPException, ValueError, KeyError) as fault:
            answers.put(f"{type(fault).__name__}: {fault}")
            connection.close()
        time.sleep(0.02)


class Healthy:
    def __init__(self, port: int) -> None:
        self._stop, self._answers = multiprocessing.Event(), multiprocessing.Queue()
        self._process = multiprocessing.Process(target=serve_healthy, args=(port, self._stop, self._answers), daemon=True)
        self._process.start()

    def drain(self) -> tuple[list[float], list[str]]:
        """Latencies and complaints since the last call."""
        answers = []
        while not self._answers.empty():
            answers.append(self._answers.get())
        return sorted(a for a in answers if isinstance(a, float)), [a for a in answers if isinstance(a, str)]

    def stop(self) -> None:
        self._stop.set()
        self.drain()
        self._process.join(10)


# --- Attacks; each returns when it is over ---


def connect(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=30)


def send_until_refused(port: int, pieces: Iterator[bytes]) -> None:
    """Sends until the server has had enough, then reads what it says."""
    with connect(port) as attacker, contextlib.suppress(OSError):
        for piece in pieces:
            attacker.sendall(piece)
        while attacker.recv(65536):
            pass


def in_parallel(count: int, attack: Callable[[], None]) -> None:
    threads = [threading.Thread(target=attack) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def slow_loris(port: int, scale: int, dice: random.Random) -> None:
    attackers: list[socket.socket] = []
    for _ in range(10_000 // scale):
        with contextlib.suppress(OSError):
            attackers.append(connect(port))
    for byte in b"POST /filter HTTP/1.1\r\n"[: 12 if scale > 1 else 20]:
        for attacker in attackers:
            with contextlib.suppress(OSError):
                attacker.send(bytes([byte]))
        time.sleep(0.3)
    for attacker in attackers:
        attacker.close()


def client_hello() -> bytes:
    """What a TLS client says first."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="webhook")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def tls_slow_loris(port: int, scale: int, dice: random.Random) -> None:
    """At the webhook's port: a tenth ends the handshake and falls silent in a header, the others stop in the middle of the handshake, half of them before its answer."""
    unverified = ssl._create_unverified_context()
    hello = client_hello()
    attackers: list[socket.socket] = []
    for number in range(10_000 // scale):
        with contextlib.suppress(OSError):
            attacker = connect(port)
            if number % 10 == 0:
                attacker = unverified.wrap_socket(attacker)
                attacker.send(b"POST /mutate HTTP/1.1\r\nHost:")
            else:
                attacker.send(hello if number % 2 == 0 else hello[:100])
            attackers.append(attacker)
    time.sleep(2)
    for attacker in attackers:
        attacker.close()


def large_bodies(port: int, scale: int, dice: random.Random) -> None:
    size = 1_000_000_000 // scale
    declared = [b"POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size]
    chunked = [b"POST /filter HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"]
    piece = b"x" * (1 << 20)
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
    for _ in range(3):
        in_parallel(4, lambda: send_until_refused(port, iter(declared + [piece] * (size // len(piece)))))
        in_parallel(4, lambda: send_until_refused(port, iter(chunked + [chunk] * (size // len(piece)))))


def unkept_promises(port: int, scale: int, dice: random.Random) -> None:
    """Bodies just under the limit that stop half-way and leave."""
    half = [b"POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n", b"x" * 8_000_000]

    def attack() -> None:
        with connect(port) as attacker, contextlib.suppress(OSError):
            for piece in half:
                attacker.sendall(piece)

    for _ in range(max(2, 20 // scale)):
        in_parallel(4, attack)


def deep_json(port: int, scale: int, dice: random.Random) -> None:
    for opening in (b"[", b'{"Pod":', b'{"Pod":{"metadata":[', b'{"Nodes":{"items":[{"a":', b'{"NodeNames":[['):
        for depth in (1000, 1_000_000 // scale):
            body = opening * depth
            head = b"POST /filter HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            send_until_refused(port, iter([head, body]))


def header_bombs(port: int, scale: int, dice: random.Random) -> None:
    field = b"X-%d: " % dice.randrange(1 << 30) + b"y" * 1000 + b"\r\n"
    for _ in range(200 // scale):
        send_until_refused(port, iter([b"POST /filter HTTP/1.1\r\n"] + [field] * 10_000))
        send_until_refused(port, iter([b"GET /" + b"a" * 1_000_000]))
        send_until_refused(port, iter([os.urandom(4096)] * 10))


def open_and_close(port: int, scale: int, dice: random.Random) -> None:
    for _ in range(10_000 // scale):
        connect(port).close()


ATTACKS = [slow_loris, tls_slow_loris, large_bodies, unkept_promises, deep_json, header_bombs, open_and_close]


# --- Judgement ---


def attack_and_judge(scheduler: Scheduler, healthy: Healthy, attack: Callable[[int, int, random.Random], None], scale: int) -> list[str]:
    healthy.drain()
    rss, descriptors = scheduler.rss_mib(), scheduler.descriptors()
    peak_descriptors, peak_rss, over = descriptors, rss, threading.Event()

    def watch() -> None:
        nonlocal peak_descriptors, peak_rss
        while not over.wait(0.1) and scheduler.running():
            peak_descriptors, peak_rss = max(peak_descriptors, scheduler.descriptors()), max(peak_rss, scheduler.rss_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    attack(scheduler.tls_port if attack is tls_slow_loris else scheduler.port, scale, random.Random(7))
    seconds = time.monotonic() - began
    time.sleep(0.5)
    over.set()
    watcher.join()
    if not scheduler.running():
        return [f"{attack.__name__}: partage-scheduler has ended"]
    latencies, complaints = healthy.drain()
    p99 = latencies[int(len(latencies) * 0.99)] if latencies else float("inf")
    p50 = latencies[len(latencies) // 2] if latencies else float("inf")
    left = settled(scheduler, descriptors)
    print(f"{attack.__name__:16} {seconds:6.1f} s  healthy client: {len(latencies):5} answers, p50 {p50:6.1f} ms, p99 {p99:6.1f} ms, {len(complaints)} refused"
          f"  rss {rss:4.0f} -> {peak_rss:4.0f} MiB  descriptors {descriptors} -> {peak_descriptors} -> {left}", flush=True)  # fmt: skip
    faults = [f"the healthy client: {complaint}" for complaint in complaints[:3]]
    faults += [f"p99 of the healthy client is {p99:.0f} ms"] if p99 > MOST_P99_MS else []
    faults += [f"memory grew by {peak_rss - rss:.0f} MiB"] if peak_rss - rss > MOST_RSS_GROWTH_MIB else []
    faults += [f"{left - descriptors} descriptors are left"] if left > descriptors + 2 else []
    return [f"{attack.__name__}: {fault}" for fault in faults]


def settled(scheduler: Scheduler, expected: int) -> int:
    """Descriptors once those of the attack are gone; whoever keeps silent is cut off after ten seconds."""
    deadline = time.monotonic() + 15
    while scheduler.descriptors() > expected + 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    return scheduler.descriptors()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        scheduler = Scheduler(arguments.program, Path(folder))
        healthy = Healthy(scheduler.port)
        time.sleep(1)
        for attack in ATTACKS:
            faults += attack_and_judge(scheduler, healthy, attack, 1 if arguments.full else 20)
        healthy.stop()
        scheduler.stop()
    print("\n".join(faults) or "hostile clients: others were served, nothing is left of them")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
