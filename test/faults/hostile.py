#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that mean harm against the real partage-scheduler, while one that does not is timed.

usage: hostile.py PARTAGE-SCHEDULER [--full]

Attacks one after another: slow-loris connections (a byte now and then, never a whole header), bodies far over the limit, bodies that promise and do not deliver,
JSON as deep as it gets, headers without end, connections that only open and close. Then the same program with its extender behind client certificates: connections that
stop in the middle of a handshake, clients with wrong certificates or none that want to bind. Exit status 1 when a healthy client is refused or kept waiting, when somebody
binds who may not, when the process ends, or when its memory or its descriptors do not come back. How long waiting may take is measured by a server that does nothing, asked
in turn with the attacked one. --full: 10,000 connections and 1 GB bodies; otherwise a twentieth of it, for every test run.
"""

import argparse
import contextlib
import functools
import http.client
import json
import multiprocessing
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
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
CLUSTER = "nodes:\n  - name: n#\n    count: 8\n    devices: [{model: NVIDIA L4, count: 8, memoryMiB: 23034}]\n"
NODES = [f"n{number}" for number in range(1, 9)]
MOST_RSS_GROWTH_MIB = 256  # bodies of all attackers that may send one at a time, or as many TLS connections as there may be
# A healthy client's p99: what a server that does nothing needs on the same machine at the same time, so often, and a queue of 10,000 connections that all have a byte to be read.
MOST_TIMES_IDLE, QUEUE_MS = 5, 150


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Certificates:
    """An authority, what it signed, and what it did not sign, as files in `folder`."""

    VALID = ("20200101000000Z", "21000101000000Z")
    WRONG = ("self-signed", "strange", "expired", "early", "server")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        for authority in ("authority", "stranger"):
            self._openssl("req", "-x509", *self._new_key(authority), "-subj", f"/CN={authority}", "-days", "2", "-out", self.certificate(authority))
        self._issue("server", "serverAuth", "authority", self.VALID)  # and wrong where a client shows it
        self._issue("client", "clientAuth", "authority", self.VALID)
        self._openssl("req", "-x509", *self._new_key("self-signed"), "-subj", "/CN=kube-scheduler", "-days", "2", "-out", self.certificate("self-signed"))
        self._issue("strange", "clientAuth", "stranger", self.VALID)
        self._issue("expired", "clientAuth", "authority", ("20200101000000Z", "20200201000000Z"))
        self._issue("early", "clientAuth", "authority", ("20900101000000Z", "21000101000000Z"))

    def certificate(self, name: str) -> str:
        return f"{self._folder}/{name}.crt"

    def key(self, name: str) -> str:
        return f"{self._folder}/{name}.key"

    def context(self, name: str = "", version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client's, who shows this certificate, or none."""
        context = ssl.create_default_context(cafile=self.certificate("authority"))
        if name:
            context.load_cert_chain(self.certificate(name), self.key(name))
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def _issue(self, name: str, usage: str, authority: str, valid: tuple[str, str]) -> None:
        """`openssl ca`, because no simpler command signs what is out of date."""
        database, settings = self._folder / f"{name}.db", self._folder / f"{name}.cnf"
        database.write_text("")
        settings.write_text(f"[ca]\ndefault_ca=a\n[a]\ndatabase={database}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\ncopy_extensions=copy\n[p]\ncommonName=supplied\n")
        extensions = ["-addext", f"extendedKeyUsage={usage}", "-addext", f"subjectAltName=IP:{HOST}"]
        self._openssl("req", *self._new_key(name), "-subj", "/CN=kube-scheduler", *extensions, "-out", f"{self._folder}/{name}.csr")
        signer = ["-cert", self.certificate(authority), "-keyfile", self.key(authority), "-outdir", str(self._folder), "-startdate", valid[0], "-enddate", valid[1]]
        self._openssl("ca", "-batch", "-notext", "-config", str(settings), "-in", f"{self._folder}/{name}.csr", *signer, "-out", self.certificate(name))

    def _new_key(self, name: str) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.key(name)]

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Scheduler:
    def __init__(self, program: str, folder: Path, certificates: Certificates, guarded: bool) -> None:
        """guarded: the extender asks for client certificates."""
        folder.mkdir()
        (folder / "cluster.yaml").write_text(CLUSTER)
        config = folder / "config.yaml"
        config.write_text("maxBodyMiB: 16\n")
        self.certificates = certificates
        self.port, self.metrics_port, self.webhook_port = free_port(), free_port(), free_port()
        identity = [certificates.certificate("server"), certificates.key("server")]
        command = [program, "--cluster", f"sim:{folder}/cluster.yaml", "--listen", f"{HOST}:{self.port}", "--metrics-listen", f"{HOST}:{self.metrics_port}"]
        command += ["--webhook-listen", f"{HOST}:{self.webhook_port}", "--webhook-tls-cert-file", identity[0], "--webhook-tls-key-file", identity[1]]
        if guarded:
            command += ["--tls-cert-file", identity[0], "--tls-key-file", identity[1], "--tls-client-ca-file", certificates.certificate("authority")]
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen([*command, "--config", str(config), "--log-level", "error"], stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + 20
        while self.get("/readyz")[0] != 200:
            assert time.monotonic() < deadline and self.running(), f"not ready: {(folder / 'log').read_text()}"
            time.sleep(0.02)

    def get(self, path: str) -> tuple[int, bytes]:
        """From the metrics port; status 0 when nobody answers."""
        connection = http.client.HTTPConnection(HOST, self.metrics_port, timeout=5)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def pods(self) -> list[str]:
        """Names of those that hold a share for good."""
        nodes = json.loads(self.get("/debug/state")[1])["nodes"]
        return [pod["name"] for node in nodes for pod in node["pods"] if pod["state"] == "bound"]

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


# --- The healthy clients, in processes of their own ---


def pod(serial: int) -> dict[str, object]:
    limits = {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "100"}
    metadata = {"name": f"p{serial}", "namespace": "default", "uid": f"uid-{serial}"}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main", "resources": {"limits": limits}}]}}


def connection_to(port: int, context: ssl.SSLContext | None, timeout: float = 10) -> http.client.HTTPConnection:
    return http.client.HTTPSConnection(HOST, port, context=context, timeout=timeout) if context else http.client.HTTPConnection(HOST, port, timeout=timeout)


class Idle:
    """A server that does nothing, in a process of its own: how long it takes to answer tells how busy the machine is."""

    SIZE = 600

    def __init__(self) -> None:
        listener = socket.create_server((HOST, 0))
        process = multiprocessing.Process(target=self._serve, args=(listener,), daemon=True)
        process.start()
        self._connection = socket.create_connection(listener.getsockname(), timeout=10)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def _serve(cls, listener: socket.socket) -> None:
        client, _ = listener.accept()
        while client.recv(cls.SIZE, socket.MSG_WAITALL):
            client.sendall(b"served")

    def ask(self) -> float:
        began = time.monotonic()
        self._connection.sendall(b"x" * self.SIZE)
        self._connection.recv(100)
        return (time.monotonic() - began) * 1000


@dataclass
class Answers:
    """Latencies in ms, sorted, and what went wrong."""

    latencies: list[float]
    idle: list[float]
    complaints: list[str]

    def quantiles(self) -> tuple[float, float, float]:
        """p50 and p99, and the p99 of the server that does nothing."""
        pick = lambda values, part: values[int(len(values) * part)] if values else float("inf")  # noqa: E731
        return pick(self.latencies, 0.5), pick(self.latencies, 0.99), pick(self.idle, 0.99)


class Healthy:
    """Filters as kube-scheduler does, up to fifty times a second, on one connection, or on a new one each time."""

    def __init__(self, name: str, port: int, certificates: Certificates | None = None, keep: bool = True) -> None:
        """Not keep: a handshake each time, for which a server that does nothing is no measure; such clients must be served, however long it takes."""
        self.keep = keep
        self.name, self._port, self._certificates = name, port, certificates
        self._idle = Idle()
        self._stop, self._answers = multiprocessing.Event(), multiprocessing.Queue()
        self._process = multiprocessing.Process(target=self._run, daemon=True)
        self._process.start()

    def drain(self) -> Answers:
        """What there was since the last call."""
        answers: list[tuple[float | str, float]] = []
        while not self._answers.empty():
            answers.append(self._answers.get())
        latencies = sorted(answer for answer, _ in answers if isinstance(answer, float))
        return Answers(latencies, sorted(idle for _, idle in answers), [answer for answer, _ in answers if isinstance(answer, str)])

    def stop(self) -> None:
        self._stop.set()
        self.drain()
        self._process.join(10)

    def _run(self) -> None:
        connection = connection_to(self._port, self._certificates.context("client") if self._certificates else None)
        serial = 0
        while not self._stop.is_set():
            serial += 1
            self._answers.put((self._ask(connection, serial), self._idle.ask()))
            if not self.keep:
                connection.close()
            time.sleep(0.02)

    @staticmethod
    def _ask(connection: http.client.HTTPConnection, serial: int) -> float | str:
        body = json.dumps({"Pod": pod(serial % 50), "Nodes": None, "NodeNames": NODES})
        began = time.monotonic()
        try:
            connection.request("POST", "/filter", body)
            reply = connection.getresponse()
            fitting = json.loads(reply.read())["NodeNames"]
            return (time.monotonic() - began) * 1000 if reply.status == 200 and fitting else f"answered {reply.status} {fitting}"
        except (OSError, http.client.HTTPException, ValueError, KeyError) as fault:
            connection.close()
            return f"{type(fault).__name__}: {fault}"


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


def answer_to_bind(port: int, context: ssl.SSLContext | None) -> int:
    """The status that a client with this certificate gets; 0 when it is not heard."""
    connection = connection_to(port, context)
    try:
        connection.request("POST", "/bind", json.dumps({"PodName": PREY, "PodNamespace": "default", "PodUID": f"uid-{PREY[1:]}", "Node": NODES[0]}))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


PREY = "p1"  # one of those that the healthy clients filter, so that a bind would succeed


class Strangers:
    """Clients that want to bind and may not: with certificates that are wrong in each way, with none, and without TLS."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.complaints: list[str] = []
        self.tries = 0
        certificates, versions = scheduler.certificates, (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        self._clients: list[tuple[str, ssl.SSLContext | None]] = [("no TLS", None)]
        self._clients += [(f"{name or 'no'} certificate, {version.name}", certificates.context(name, version)) for name in ("", *Certificates.WRONG) for version in versions]

    def attack(self, port: int, scale: int, dice: random.Random) -> None:
        in_parallel(4, lambda: self._try_all(port, max(2, 50 // scale)))
        if bound := self._scheduler.pods():
            self.complaints.append(f"{bound} were bound")

    def may_bind_with_the_right_certificate(self) -> list[str]:
        """Otherwise all of it would show nothing."""
        status, bound = answer_to_bind(self._scheduler.port, self._scheduler.certificates.context("client")), self._scheduler.pods()
        return [] if (status, bound) == (200, [PREY]) else [f"the right certificate: /bind answered {status}, bound are {bound}"]

    def _try_all(self, port: int, rounds: int) -> None:
        for _ in range(rounds):
            for name, context in self._clients:
                self.tries += 1
                # In plain words a TLS port may only say that it does not understand.
                if (status := answer_to_bind(port, context)) not in (0, *((400,) if context is None else ())):
                    self.complaints.append(f"{name}: /bind was answered with {status}")


OPEN_ATTACKS = [slow_loris, large_bodies, unkept_promises, deep_json, header_bombs, open_and_close]


# --- Judgement ---


def attack_and_judge(scheduler: Scheduler, clients: list[Healthy], name: str, attack: Callable[[], None]) -> list[str]:
    for client in clients:
        client.drain()
    rss, descriptors = scheduler.rss_mib(), scheduler.descriptors()
    peak_descriptors, peak_rss, over = descriptors, rss, threading.Event()

    def watch() -> None:
        nonlocal peak_descriptors, peak_rss
        while not over.wait(0.1) and scheduler.running():
            peak_descriptors, peak_rss = max(peak_descriptors, scheduler.descriptors()), max(peak_rss, scheduler.rss_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    attack()
    seconds = time.monotonic() - began
    time.sleep(0.5)
    over.set()
    watcher.join()
    if not scheduler.running():
        return [f"{name}: partage-scheduler has ended"]
    faults = [fault for client in clients for fault in judge(name, client)]
    left = settled(scheduler, descriptors)
    print(f"{name:20} {seconds:6.1f} s  rss {rss:4.0f} -> {peak_rss:4.0f} MiB  descriptors {descriptors} -> {peak_descriptors} -> {left}", flush=True)
    faults += [f"memory grew by {peak_rss - rss:.0f} MiB"] if peak_rss - rss > MOST_RSS_GROWTH_MIB else []
    faults += [f"{left - descriptors} descriptors are left"] if left > descriptors + 2 else []
    return [f"{name}: {fault}" for fault in faults]


def judge(attack: str, client: Healthy) -> list[str]:
    answers = client.drain()
    p50, p99, idle = answers.quantiles()
    print(f"{attack:20} {client.name}: {len(answers.latencies)} answers, p50 {p50:.1f} ms, p99 {p99:.1f} ms (a server that does nothing: p99 {idle:.1f} ms),"
          f" {len(answers.complaints)} refused", flush=True)  # fmt: skip
    faults = [f"{client.name}: {complaint}" for complaint in answers.complaints[:3]]
    most = QUEUE_MS + MOST_TIMES_IDLE * idle
    return faults + ([f"p99 of {client.name} is {p99:.0f} ms, more than {most:.0f}"] if client.keep and p99 > most else [])


def settled(scheduler: Scheduler, expected: int) -> int:
    """Descriptors once those of the attack are gone; whoever keeps silent is cut off after ten seconds."""
    deadline = time.monotonic() + 15
    while scheduler.descriptors() > expected + 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    return scheduler.descriptors()


def attack_open(program: str, folder: Path, scale: int) -> list[str]:
    """The extender as beside a kube-scheduler, and the webhook, which the whole cluster may reach."""
    scheduler = Scheduler(program, folder / "open", Certificates(folder / "open-certificates"), guarded=False)
    clients = [Healthy("healthy", scheduler.port)]
    time.sleep(1)
    faults: list[str] = []
    dice = random.Random(7)
    for attack in OPEN_ATTACKS:
        faults += attack_and_judge(scheduler, clients, attack.__name__, functools.partial(attack, scheduler.port, scale, dice))
    faults += attack_and_judge(scheduler, clients, "webhook_slow_loris", functools.partial(tls_slow_loris, scheduler.webhook_port, scale, dice))
    end(scheduler, clients)
    return faults


def attack_guarded(program: str, folder: Path, scale: int) -> list[str]:
    """The extender behind a Service, where it asks for client certificates."""
    certificates = Certificates(folder / "guarded-certificates")
    scheduler = Scheduler(program, folder / "guarded", certificates, guarded=True)
    clients = [Healthy("healthy", scheduler.port, certificates), Healthy("newcomers", scheduler.port, certificates, keep=False)]
    time.sleep(1)
    dice = random.Random(7)
    strangers = Strangers(scheduler)
    faults = attack_and_judge(scheduler, clients, "tls_slow_loris", functools.partial(tls_slow_loris, scheduler.port, scale, dice))
    faults += attack_and_judge(scheduler, clients, "wrong_certificates", functools.partial(strangers.attack, scheduler.port, scale, dice))
    print(f"{'wrong_certificates':20} {strangers.tries} tries to bind, {len(strangers.complaints)} answered", flush=True)
    faults += strangers.complaints[:3] + strangers.may_bind_with_the_right_certificate()
    end(scheduler, clients)
    return faults


def end(scheduler: Scheduler, clients: list[Healthy]) -> None:
    for client in clients:
        client.stop()
    scheduler.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    scale = 1 if arguments.full else 20
    with tempfile.TemporaryDirectory() as folder:
        faults = attack_open(arguments.program, Path(folder), scale) + attack_guarded(arguments.program, Path(folder), scale)
    print("\n".join(faults) or "hostile clients: others were served, nothing is left of them")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
