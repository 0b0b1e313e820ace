#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's own Python bindings on the fake driver, bare and through libpartage.so. Environment: CLIENTS (their virtual environment), FAKE_DRIVER
(the fake driver's folder), PARTAGE_LIBRARY."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS, FAKE_DRIVER, LIBRARY = os.environ["CLIENTS"], os.environ["FAKE_DRIVER"], os.environ["PARTAGE_LIBRARY"]
GIB = 1 << 30
MIB = 1 << 20
UUIDS = ["GPU-11111111-2222-4333-8444-555555555555", "GPU-66666666-7777-4888-8999-aaaaaaaaaaaa"]
DEVICES = f"device uuid={UUIDS[0]} memory=8G; device uuid={UUIDS[1]} memory=16G; cuda_order 1 0; context 200M; pool_chunk 2M"
BRANCHES = ["525", "550", "580"]  # the bindings need the cuGetProcAddress of CUDA 12


def environment(branch: str, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CUDA_", "FAKE_", "PARTAGE_", "NVIDIA_", "LD_"))}
    return clean | {"FAKE_CUDA": DEVICES, "LD_LIBRARY_PATH": f"{FAKE_DRIVER}/{branch}"} | more


def limited(branch: str, folder: str, limit: str = "1g", **more: str) -> dict[str, str]:
    """As a device plugin sets up a container, which always names the devices by UUID."""
    variables = {"CUDA_DEVICE_MEMORY_LIMIT": limit, "NVIDIA_VISIBLE_DEVICES": ",".join(UUIDS), "PARTAGE_USAGE": f"{folder}/usage"}
    return environment(branch, LD_PRELOAD=LIBRARY, **variables, **more)


def start(variables: dict[str, str], *arguments: str) -> subprocess.Popen:
    command = [f"{CLIENTS}/bin/python", f"{HERE}/share_client.py", *arguments]
    return subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Clients(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_client(self, variables: dict[str, str]) -> dict:
        client = start(variables)
        out, err = client.communicate(timeout=60)
        self.assertEqual(client.returncode, 0, err)
        return json.loads(out)

    def all_ways_work(self, report: dict) -> None:
        self.assertEqual([way for way, worked in report["ways"].items() if not worked], [])

    def test_bare_the_client_sees_the_device(self):
        for branch in BRANCHES:
            with self.subTest(branch):
                report = self.run_client(environment(branch))
                self.all_ways_work(report)
                self.assertEqual(report["total"], [16 * GIB])
                self.assertEqual(report["used"], [200 * MIB])

    def test_under_a_limit_the_client_sees_its_share_whomever_it_asks(self):
        for branch in BRANCHES:
            with self.subTest(branch), tempfile.TemporaryDirectory() as folder:
                report = self.run_client(limited(branch, folder))
                self.all_ways_work(report)
                self.assertEqual(report["total"], [1 * GIB])
                self.assertEqual(report["used"], [200 * MIB])
                self.assertEqual(report["sums"], [1 * GIB])

    def test_without_a_limit_the_preloaded_library_changes_no_answer(self):
        for branch in BRANCHES:
            with self.subTest(branch):
                self.assertEqual(self.run_client(environment(branch, LD_PRELOAD=LIBRARY)), self.run_client(environment(branch)))

    def test_two_clients_share_one_limit(self):
        shared = {"FAKE_CUDA": f"{DEVICES}; shm {self.folder}/gpus"}
        first = start(limited("580", self.folder) | shared, "--stay")
        self.addCleanup(first.communicate)
        self.all_ways_work(json.loads(first.stdout.readline()))
        self.assertEqual(first.stdout.readline(), "holding 100 MiB\n")
        second = self.run_client(limited("580", self.folder) | shared)
        self.all_ways_work(second)
        self.assertEqual(second["total"], [1 * GIB])
        self.assertEqual(second["used"], [(200 + 100 + 200) * MIB])


if __name__ == "__main__":
    if not os.path.exists(f"{CLIENTS}/ready"):
        print(f"skipped: no clients in {CLIENTS}; PyPI had none when they were wanted")
        sys.exit(77)
    unittest.main(verbosity=2)
