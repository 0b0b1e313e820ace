#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kube-apiserver keeps the contract that the fake API server of the C++ tests is held to."""

import os
import subprocess
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.control_plane import ControlPlane, program
from harness.scenario import main


class ApiContract(unittest.TestCase):
    def test_the_contract_suite_passes_against_kube_apiserver(self) -> None:
        with TemporaryDirectory() as folder:
            control_plane = ControlPlane(Path(folder))
            self.addCleanup(control_plane.stop)
            control_plane.start()
            kubeconfig = control_plane.kubeconfig("admin", token="admin-token")
            suite = program("test_api_server_contract", "PARTAGE_API_CONTRACT")
            run = subprocess.run([suite], env=os.environ | {"PARTAGE_CONTRACT_KUBECONFIG": str(kubeconfig)}, capture_output=True, text=True, timeout=300)
            self.assertEqual(0, run.returncode, run.stdout)
            self.assertIn("All tests passed", run.stdout)
            control_plane.stop()


if __name__ == "__main__":
    main()
