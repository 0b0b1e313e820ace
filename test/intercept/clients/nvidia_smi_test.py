#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's own nvidia-smi on the fake driver, bare and through libpartage.so. Environment: as clients_test.py, and NVIDIA: the folder of tools/fetch_nvidia.sh."""

import csv
import os
import re
import subprocess
import sys
import tempfile
import unittest

from clients_test import DEVICES, HERE, UUIDS, environment, limited

NVIDIA = os.environ["NVIDIA"]
BRANCHES = ["470", "535", "550"]
SHARES = {"CUDA_DEVICE_MEMORY_LIMIT_0": "1g", "CUDA_DEVICE_MEMORY_LIMIT_1": "3g"}  # by NVML's number
CONTEXT = 200  # MiB, of the profile


def program(branch: str) -> str:
    return f"{NVIDIA}/{branch}/usr/lib/nvidia/current/nvidia-smi"


class NvidiaSmi(unittest.TestCase):
    """Each test runs in every version, with a folder of its own for what processes share."""

    def each_branch(self):
        for branch in BRANCHES:
            with self.subTest(branch), tempfile.TemporaryDirectory() as folder:
                self.shared = {"FAKE_CUDA": f"{DEVICES}; shm {folder}/gpus"}
                self.bare = environment(branch) | self.shared
                self.limited = limited(branch, folder, **SHARES) | self.shared
                yield branch

    def ask(self, branch: str, variables: dict[str, str], *arguments: str) -> str:
        done = subprocess.run([program(branch), *arguments], env=variables, capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def table(self, branch: str, variables: dict[str, str]) -> list[tuple[int, int]]:
        """Used and total MiB of each GPU, as the table of a plain nvidia-smi shows them."""
        return [(int(used), int(total)) for used, total in re.findall(r"(\d+)MiB / +(\d+)MiB", self.ask(branch, variables))]

    def query(self, branch: str, variables: dict[str, str], what: str, fields: str) -> list[list[str]]:
        lines = self.ask(branch, variables, f"--query-{what}={fields}", "--format=csv,noheader,nounits").splitlines()
        return list(csv.reader(lines, skipinitialspace=True))

    def memory(self, branch: str, variables: dict[str, str]) -> list[list[int]]:
        """Total, used and free MiB of each GPU."""
        return [[int(figure) for figure in row] for row in self.query(branch, variables, "gpu", "memory.total,memory.used,memory.free")]

    def hold(self, variables: dict[str, str], mib: int) -> subprocess.Popen:
        holder = subprocess.Popen([sys.executable, f"{HERE}/hold.py", str(mib)], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(holder.communicate)
        self.assertEqual(holder.stdout.readline(), b"holding\n")
        return holder

    def test_bare_it_shows_the_gpus(self):
        for branch in self.each_branch():
            self.hold(self.bare, 300)
            self.assertEqual(self.table(branch, self.bare), [(0, 8192), (500, 16384)])
            self.assertEqual([row[:2] for row in self.memory(branch, self.bare)], [[8192, 0], [16384, 500]])

    def test_through_the_library_it_shows_the_shares(self):
        for branch in self.each_branch():
            self.assertEqual(self.table(branch, self.limited), [(0, 1024), (0, 3072)])
            self.assertEqual(self.memory(branch, self.limited), [[1024, 0, 1024], [3072, 0, 3072]])

    def test_identity_is_the_gpus_own(self):
        for branch in self.each_branch():
            fields = "index,uuid,name,utilization.gpu"
            self.assertEqual(self.query(branch, self.limited, "gpu", fields), [["0", UUIDS[0], "Fake GPU", "0"], ["1", UUIDS[1], "Fake GPU", "0"]])
            wanted = "".join(f"GPU {i}: Fake GPU (UUID: {uuid})\n" for i, uuid in enumerate(UUIDS))
            self.assertEqual(self.ask(branch, self.limited, "-L"), wanted)

    def test_the_long_form_shows_the_shares_too(self):
        for branch in self.each_branch():
            for arguments in ["-q", "-d", "MEMORY"], ["-q"]:
                section = r"FB Memory Usage\s+Total +: (\d+) MiB"
                self.assertEqual(re.findall(section, self.ask(branch, self.limited, *arguments)), ["1024", "3072"])
                self.assertEqual(re.findall(section, self.ask(branch, self.bare, *arguments)), ["8192", "16384"])

    def test_what_others_of_the_container_hold_is_used_on_the_gpu_that_they_hold_it_on(self):
        """CUDA numbers the GPUs the other way round than NVML."""
        for branch in self.each_branch():
            self.hold(self.limited, 300)
            self.hold(self.limited | {"CUDA_VISIBLE_DEVICES": "1"}, 100)
            self.hold(self.limited | {"CUDA_VISIBLE_DEVICES": UUIDS[0]}, 50)
            first, second = 2 * CONTEXT + 150, CONTEXT + 300
            for visible in {}, {"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_VISIBLE_DEVICES": UUIDS[1]}:
                self.assertEqual(self.table(branch, self.limited | visible), [(first, 1024), (second, 3072)])
                self.assertEqual(self.memory(branch, self.limited | visible), [[1024, first, 1024 - first], [3072, second, 3072 - second]])

    def test_a_neighbour_is_not_seen(self):
        for branch in self.each_branch():
            self.hold(self.bare, 300)
            self.assertEqual(self.table(branch, self.limited), [(0, 1024), (0, 3072)])

    def test_processes_are_the_containers_own(self):
        """Where nvidia-smi asks the public functions: since 535 it asks one without a name, which is nobody's to model."""
        for branch in self.each_branch():
            stranger, own = self.hold(self.bare, 10), self.hold(self.limited, 300)
            named = branch == "470"
            self.assertEqual(self.query(branch, self.limited, "compute-apps", "pid,used_memory"), [[str(own.pid), "500"]] if named else [["[Uninitialized]"] * 2] * 2)
            everybody = sorted([[str(stranger.pid), "210"], [str(own.pid), "500"]])
            self.assertEqual(sorted(self.query(branch, self.bare, "compute-apps", "pid,used_memory")), everybody if named else [["[Uninitialized]"] * 2] * 2)


if __name__ == "__main__":
    missing = [branch for branch in BRANCHES if not os.path.exists(program(branch))]
    if missing:
        print(f"skipped: no nvidia-smi of {missing} in {NVIDIA}; Debian had none when they were wanted")
        sys.exit(77)
    unittest.main(verbosity=2)
