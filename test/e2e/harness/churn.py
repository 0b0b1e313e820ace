# SPDX-License-Identifier: Apache-2.0
"""Pods that come and go while partage-scheduler is killed."""

import os
import random
import threading
from collections.abc import Callable

from . import invariants
from .api import Api
from .objects import ALLOCATION, Node, Pod
from .scenario import Scenario


class Churn(threading.Thread):
    """Creates pods in handfuls, but never more than wait for long, and deletes bound ones when there are many, until told to stop."""

    def __init__(self, api: Api, dice: random.Random) -> None:
        super().__init__()
        self.created: set[str] = set()
        self.deleted: set[str] = set()
        self.fault: BaseException | None = None
        self._api = api
        self._dice = dice
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(0.1):
                alive = len(self.created) - len(self.deleted)
                if alive < 400:
                    self._add(10)
                if alive > 300:
                    self._remove(20)
        except BaseException as fault:  # reported by the test's own thread
            self.fault = fault

    def finish(self) -> None:
        self._stop_asked.set()
        self.join()
        if self.fault:
            raise self.fault

    def _add(self, count: int) -> None:
        pods = [self._pod(f"p-{len(self.created) + index:05}") for index in range(count)]
        self._api.create_pods(*(pod.build() for pod in pods))
        self.created |= {pod.name for pod in pods}

    def _pod(self, name: str) -> Pod:
        return Pod(name).container(gpu=self._dice.choice([1, 1, 2]), gpumem=self._dice.choice([500, 1500, 2500]), gpucores=self._dice.choice([0, 5]))

    def _remove(self, count: int) -> None:
        bound = sorted(pod["metadata"]["name"] for pod in self._api.pods("spec.nodeName!="))
        names = self._dice.sample(bound, min(count, len(bound)))
        self._api.delete_pods(*names)
        self.deleted |= set(names)


class UnderChurn(Scenario):
    def live_through(self, deaths: Callable[[random.Random, Callable[[], None]], None]) -> tuple[Churn, int]:
        """Ten nodes and a Churn while deaths(dice, check) kills and starts partage-scheduler, and calls check after each death. At the end all pods that are left are
        bound, no bound pod's node or allocation has ever changed, and the ledger is true. Returns the churn and how many pods were seen bound."""
        seed = int(os.environ.get("PARTAGE_E2E_SEED", str(random.randrange(2**31))))
        print(f"PARTAGE_E2E_SEED={seed}")
        self.nodes(*(Node(f"n{index}").gpus(8).build() for index in range(10)))
        churn = Churn(self.api, random.Random(seed + 1))
        seen: dict[str, tuple[str, str]] = {}
        churn.start()
        try:
            deaths(random.Random(seed), lambda: self._check(seen))
        finally:
            churn.finish()
        self.wait_bound(churn.created - churn.deleted, timeout=60)
        self._remember_allocations(seen)
        self.assertEqual(churn.created - churn.deleted, {pod["metadata"]["name"] for pod in self.api.pods("spec.nodeName!=")})
        self.assert_ledger_is_true()
        return churn, len(seen)

    def _check(self, seen: dict[str, tuple[str, str]]) -> None:
        self._remember_allocations(seen)
        self.assertEqual([], invariants.violations(self.api))

    def _remember_allocations(self, seen: dict[str, tuple[str, str]]) -> None:
        """Every bound pod's UID → (node, allocation), which must never change again."""
        for pod in self.api.pods("spec.nodeName!="):
            now = (pod["spec"]["nodeName"], pod["metadata"]["annotations"][ALLOCATION])
            self.assertEqual(seen.setdefault(pod["metadata"]["uid"], now), now)
