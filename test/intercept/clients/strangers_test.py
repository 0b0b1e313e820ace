#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that never use CUDA, with and without libpartage.so preloaded: the same output, the same exit code, and nothing left behind. Environment as
clients_test.py, and STRANGERS: the programs that need_clients.sh fetched. python3, bash, git and the compiler are everywhere this is built."""

import glob
import os
import subprocess
import sys
import tempfile
import unittest

CLIENTS, STRANGERS, LIBRARY = os.environ["CLIENTS"], os.environ["STRANGERS"], os.environ["PARTAGE_LIBRARY"]
FOLDERS = [f"{STRANGERS}/bin", *glob.glob(f"{STRANGERS}/lib/python3*/site-packages/*/**/bin", recursive=True)]
NOBODY = 65534

NUMPY = "import numpy as n; a = n.arange(250000.).reshape(500, 500); print(n.linalg.norm(a @ a.T), sorted({'a': 1}), n.fft.fft(a[0])[3])"
PYTHON = "import ssl, sqlite3, ctypes, threading; t = threading.Thread(target=lambda: print(sum(range(10**6)))); t.start(); t.join()"
FORKS = "import multiprocessing as m; print(m.get_context('fork').Pool(4).map(abs, range(-50, 0)))"
SYMBOLS = "import ctypes; d = ctypes.CDLL(None); print([bool(getattr(d, n, None)) for n in ('dlsym', 'curl_easy_init', 'cu', 'cublasCreate_v2')])"
NODE = """const { Worker, isMainThread, parentPort } = require('worker_threads');
if (!isMainThread) parentPort.postMessage(require('crypto').createHash('sha256').update('x'.repeat(1e6)).digest('hex'));
else for (let i = 0; i < 3; ++i) new Worker(__filename).on('message', console.log);"""
JAVA = "keytool -genkeypair -v -alias a -dname CN=a -keyalg EC -validity 30 -storepass secret -keystore keys && test -s keys"
RUST = "seq 1 50 | xargs -I{} sh -c 'echo import os, sys >{}.py'; ruff check --isolated --no-cache --output-format concise . | sort"
GO = "seq 1 2000 | sed 's/.*/if true;then echo &;fi/' | shfmt -i 2 | cksum"
POSTGRES = """set -e
initdb -D data -U me --auth=trust --locale=C --encoding=UTF8 --no-sync
echo "listen_addresses = ''
unix_socket_directories = '.'
log_checkpoints = off
log_line_prefix = ''
log_destination = stderr
min_parallel_table_scan_size = 0
parallel_setup_cost = 0
parallel_tuple_cost = 0" >>data/postgresql.conf
pg_ctl -s -D data -l log -w start
psql -h "$PWD/data" -U me -v ON_ERROR_STOP=1 postgres <<SQL
create table t as select i, md5(i::text) as text from generate_series(1, 100000) as i;
create index on t (text);
analyze t;
explain (costs off) select count(*), max(text) from t where i % 7 = 0;
select count(*), max(text) from t where i % 7 = 0;
select i from t order by text desc limit 3;
\\copy (select pg_read_file('/proc/self/maps')) to 'maps'
SQL
pg_ctl -s -D data -m smart -w stop
grep -E 'starting|ready to accept|is shut down|signal|WARNING|ERROR|FATAL|PANIC' log
test "$(grep -c libpartage maps)" -gt 0 && echo preloaded >&2 || true"""
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

    def run_in_fresh_folder(self, command: list[str], preload: str, usage: str, user: int | None = None) -> tuple[int, bytes, bytes]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LD_")}
        path = ":".join([*FOLDERS, os.environ["PATH"]])
        variables = clean | {"CUDA_DEVICE_MEMORY_LIMIT": "1g", "PARTAGE_USAGE": usage, "HOME": self.folder, "PATH": path, "TZ": "UTC"}
        variables |= {"LD_PRELOAD": preload} if preload else {}
        with tempfile.TemporaryDirectory() as folder:
            if user is not None:
                os.chown(folder, user, user)
            done = subprocess.run(
                command, cwd=folder, env=variables, capture_output=True, timeout=60, check=False, user=user, group=user, extra_groups=None if user is None else []
            )
        return done.returncode, done.stdout, done.stderr

    def unchanged(self, *command: str) -> None:
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
        self.unchanged("bash", "-c", JAVA)

    def test_git(self):
        self.unchanged("bash", "-c", GIT)

    def test_compiler(self):
        self.unchanged("bash", "-c", f"c++ -std=c++20 -O1 {self.write('m.cc', CPP)} -o m && ./m; echo $?; cksum <m")

    def test_go(self):
        self.unchanged("bash", "-o", "pipefail", "-c", GO)

    def test_rust(self):
        self.unchanged("bash", "-c", RUST)

    def test_postgres(self):
        """It will not run as root; where we are root, somebody else does it."""
        usage = os.path.join(self.folder, "usage")
        os.chmod(self.folder, 0o777)
        user = NOBODY if os.geteuid() == 0 else None
        if self.run_in_fresh_folder(["bash", "-c", f"command -v initdb && test -r {LIBRARY}"], "", usage, user)[0] != 0:
            self.skipTest(f"user {NOBODY} may not read {STRANGERS} and {LIBRARY}")
        bare, preloaded = (self.run_in_fresh_folder(["bash", "-c", POSTGRES], preload, usage, user) for preload in ("", LIBRARY))
        self.assertEqual((bare[0], bare[2]), (0, b""), bare[1])
        self.assertIn(b"Parallel", bare[1])
        self.assertEqual(preloaded, (0, bare[1], b"preloaded\n"))
        self.assertFalse(os.path.exists(usage), "PostgreSQL made the usage file")


if __name__ == "__main__":
    if not os.path.exists(f"{STRANGERS}/ready"):
        print(f"skipped: no programs in {STRANGERS}; PyPI had none when they were wanted")
        sys.exit(77)
    unittest.main(verbosity=2)
