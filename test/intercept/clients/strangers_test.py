#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that never use CUDA, with and without libpartage.so preloaded: the same output, the same exit code, and nothing left behind. Environment as
clients_test.py. A program that is not installed is skipped; python3, bash, git and the compiler are everywhere this is built."""

import os
import shutil
import subprocess
import tempfile
import unittest

CLIENTS, LIBRARY = os.environ["CLIENTS"], os.environ["PARTAGE_LIBRARY"]

NUMPY = "import numpy as n; a = n.arange(250000.).reshape(500, 500); print(n.linalg.norm(a @ a.T), sorted({'a': 1}), n.fft.fft(a[0])[3])"
PYTHON = "import ssl, sqlite3, ctypes, threading; t = threading.Thread(target=lambda: print(sum(range(10**6)))); t.start(); t.join()"
FORKS = "import multiprocessing as m; print(m.get_context('fork').Pool(4).map(abs, range(-50, 0)))"
SYMBOLS = "import ctypes; d = ctypes.CDLL(None); print([bool(getattr(d, n, None)) for n in ('dlsym', 'curl_easy_init', 'cu', 'cublasCreate_v2')])"
NODE = """const { Worker, isMainThread, parentPort } = require('worker_threads');
if (!isMainThread) parentPort.postMessage(require('crypto').createHash('sha256').update('x'.repeat(1e6)).digest('hex'));
else for (let i = 0; i < 3; ++i) new Worker(__filename).on('message', console.log);"""
JAVA = """import java.util.stream.*;
public class Sum { public static void main(String[] a) { System.out.println(IntStream.range(0, 1 << 20).parallel().mapToLong(i -> i % 7).sum()); } }"""
SHELL = "set -o pipefail; seq 1 20000 | sort -rn | awk '{s += $1} END {print s}' | tee /dev/stderr; (exit 3)"
CPP = "#include <map>\n#include <string>\nstd::map<std::string, int> m{{\"a\", 1}}; int main() { return m[\"a\"]; }\n"
GIT = "git init -q r && cd r && git -c user.name=n -c user.email=e commit -q --allow-empty -m m --date='1 Jan 2020 00:00 +0000' && git log --format=%s && git fsck"


class Strangers(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name: str, text: str) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def run_in_fresh_folder(self, command: list[str], preload: str, usage: str) -> tuple[int, bytes, bytes]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LD_")}
        variables = clean | {"CUDA_DEVICE_MEMORY_LIMIT": "1g", "PARTAGE_USAGE": usage, "HOME": self.folder} | ({"LD_PRELOAD": preload} if preload else {})
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def unchanged(self, *command: str) -> None:
        if shutil.which(command[0]) is None:
            self.skipTest(f"no {command[0]} here")
        usage = os.path.join(self.folder, "usage")
        bare, preloaded = (self.run_in_fresh_folder(list(command), preload, usage) for preload in ("", LIBRARY))
        self.assertEqual(bare, preloaded)
        self.assertFalse(os.path.exists(usage), "a program that never uses CUDA made the usage file")

    def test_the_library_really_is_preloaded(self):
        command = ["python3", "-c", "print('libpartage' in open('/proc/self/maps').read())"]
        self.assertEqual(self.run_in_fresh_folder(command, LIBRARY, "")[1], b"True\n")

    def test_true(self):
        self.unchanged("true")

    def test_bash_with_pipes(self):
        self.unchanged("bash", "-c", SHELL)

    def test_python(self):
        self.unchanged("python3", "-c", PYTHON)

    def test_python_forking(self):
        self.unchanged("python3", "-c", FORKS)

    def test_python_looking_up_symbols(self):
        self.unchanged("python3", "-c", SYMBOLS)

    def test_numpy(self):
        self.unchanged(f"{CLIENTS}/bin/python", "-c", NUMPY)

    def test_node(self):
        self.unchanged("node", self.write("work.js", NODE))

    def test_java(self):
        self.unchanged("java", self.write("Sum.java", JAVA))

    def test_git(self):
        self.unchanged("bash", "-c", GIT)

    def test_compiler(self):
        self.unchanged("bash", "-c", f"c++ -std=c++20 -O1 {self.write('m.cc', CPP)} -o m && ./m; echo $?; cksum <m")

    def test_go(self):
        self.unchanged("go", "version")

    def test_rust(self):
        self.unchanged("rustc", "--version", "--verbose")

    def test_postgres(self):
        self.unchanged("psql", "--help")


if __name__ == "__main__":
    unittest.main(verbosity=2)
