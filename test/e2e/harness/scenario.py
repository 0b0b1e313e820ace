# SPDX-License-Identifier: Apache-2.0
"""Base of every end-to-end test file.

    class Requests(Scenario):
        def test_a_whole_card(self): ...

    if __name__ == "__main__":
        main()

One control plane a class. After each test the invariants are checked and every pod and node is deleted. Logs stay below build/e2e/ when a test failed.
"""

import re
import shutil
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import ClassVar

from . import invariants
from .api import Api, Object
from .control_plane import ROOT, ControlPlane, Extender, Partage, program
from .process import Process, eventually


class Scenario(unittest.TestCase):
    partage_arguments: ClassVar[list[str]] = []
    node_cache_capable: ClassVar[bool] = True
    audit: ClassVar[bool] = False
    watch_list: ClassVar[bool] = True

    control_plane: ClassVar[ControlPlane]
    partage: ClassVar[Partage]
    kube_scheduler: ClassVar[Process]
    api: ClassVar[Api]

    @classmethod
    def setUpClass(cls) -> None:
        program("partage-scheduler", "PARTAGE_SCHEDULER")  # fails at once where there is none
        folder = _work_folder() / cls.__name__
        folder.mkdir()
        cls.control_plane = ControlPlane(folder, audit=cls.audit, watch_list=cls.watch_list)
        cls.addClassCleanup(cls.control_plane.stop)
        cls.control_plane.start()
        cls.api = cls.control_plane.api
        cls.start_schedulers()

    @classmethod
    def start_schedulers(cls) -> None:
        """Sets `partage` and `kube_scheduler`, once the control plane is there."""
        cls.partage = cls.control_plane.start_partage(*cls.partage_arguments)
        cls.kube_scheduler = cls.control_plane.start_kube_scheduler(cls.extender())

    @classmethod
    def extender(cls) -> Extender:
        """How kube-scheduler reaches partage-scheduler."""
        return Extender(cls.partage.url, cls.node_cache_capable)

    def tearDown(self) -> None:
        try:
            self.assertTrue(self.partage.running, f"partage-scheduler has ended:\n{self.partage.log_tail()}")
            self.assertEqual([], invariants.violations(self.api))
        finally:
            self.api.delete_everything()
            eventually("nothing is left of this test", lambda: self.ledger() == {})

    # --- Acting ---

    def nodes(self, *nodes: Object) -> None:
        """Creates them and waits until partage-scheduler knows them."""
        self.api.create_nodes(*nodes)
        expected = {(node["metadata"]["name"], uuid) for node in nodes for uuid in invariants.capacities(node)}
        eventually("partage-scheduler knows the nodes", lambda: expected <= self.ledger().keys())

    def bind(self, *pods: Object, timeout: float = 30) -> list[Object]:
        """Creates the pods one after another, each after the one before it is bound; as they are then."""
        return [self.bind_together(pod, timeout=timeout)[0] for pod in pods]

    def bind_together(self, *pods: Object, timeout: float = 60) -> list[Object]:
        """Creates the pods at once and waits until all are bound; as they are then, in the same order."""
        self.api.create_pods(*pods)
        names = [pod["metadata"]["name"] for pod in pods]
        self.wait_bound(set(names), timeout)
        if len(names) < 10:
            return [self.api.pod(name) for name in names]
        bound = {pod["metadata"]["name"]: pod for pod in self.api.pods()}
        return [bound[name] for name in names]

    def refuse(self, pod: Object) -> str:
        """Creates a pod that cannot be placed; the text of its event, without kube-scheduler's words about preemption."""
        self.api.create_pods(pod)
        name = pod["metadata"]["name"]

        def told() -> list[str]:
            self.assertNotIn("nodeName", self.api.pod(name)["spec"], f"{name} was bound")
            return [text for text in self.api.events(name) if "nodes are available" in text]

        messages = eventually(f"{name} is refused", told)
        return re.sub(r" (no new claims to deallocate, )?preemption: .*", "", messages[-1])  # type: ignore[index]

    # --- Looking ---

    def unbound(self) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.api.pods("spec.nodeName=")}

    def wait_bound(self, names: set[str], timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while left := sorted(names & self.unbound()):
            if time.monotonic() > deadline:
                self.fail(f"after {timeout} s {len(left)} of {len(names)} pods are not bound, e.g. {left[0]}: {self.api.events(left[0])}")
            time.sleep(0.05 if len(names) < 100 else 0.3)

    def devices_of(self, pod: Object, container: str = "") -> list[str]:
        """UUIDs given to the pod, or to one of its containers, in the order of the allocation."""
        given = invariants.allocation(pod)
        assert given is not None, f"{pod['metadata']['name']} has no allocation"
        return [share.uuid for part in given if container in ("", part.name) for share in part.shares]

    def ledger(self) -> dict[tuple[str, str], invariants.Amount]:
        """What partage-scheduler believes is taken of each device: (node, uuid) → amount."""
        return {
            (node["name"], device["uuid"]): invariants.Amount(*(device[kind]["used"] for kind in ("slots", "memoryMiB", "cores")))
            for node in self.partage.state("?pods=false")["nodes"]
            for device in node["devices"]
        }

    def quarantine_of(self, node: str) -> str:
        """Why partage-scheduler places nothing there; "" when it does."""
        found = [entry for entry in self.partage.state("?pods=false")["nodes"] if entry["name"] == node]
        return found[0].get("quarantine", "") if found else ""

    def assert_ledger_is_true(self) -> None:
        """partage-scheduler's ledger comes to equal what the pods in the API server add up to."""

        def differences() -> list[str]:
            truth, belief = invariants.device_usage(self.api), self.ledger()
            return [f"{key}: pods say {truth.get(key)}, the ledger {belief.get(key)}" for key in truth.keys() | belief.keys() if truth.get(key) != belief.get(key)]

        eventually("the ledger equals the pods' annotations", lambda: not differences() or None, timeout=10, every=0.1)
        self.assertEqual([], differences())


_folders: list[Path] = []


def _work_folder() -> Path:
    """This run's folder, build/e2e/NAME-…"""
    if not _folders:
        parent = ROOT / "build/e2e"
        parent.mkdir(parents=True, exist_ok=True)
        _folders.append(Path(tempfile.mkdtemp(prefix=f"{Path(sys.argv[0]).stem}-", dir=parent)))
    return _folders[0]


def _report_failure(folder: Path) -> None:
    for database in folder.glob("*/etcd"):
        shutil.rmtree(database, ignore_errors=True)
    for log in sorted(folder.glob("*/partage-scheduler.log")):
        print(f"--- last lines of {log}", *log.read_text(errors="replace").splitlines()[-40:], sep="\n", file=sys.stderr)
    print(f"logs are kept in {folder}", file=sys.stderr)


def main() -> None:
    """Runs the tests of the calling file; exits with their verdict."""
    succeeded = unittest.main(module="__main__", exit=False, verbosity=2).result.wasSuccessful()
    if succeeded:
        shutil.rmtree(_work_folder(), ignore_errors=True)
    else:
        _report_failure(_work_folder())
    sys.exit(0 if succeeded else 1)
