#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""partage-scheduler dies at any instruction: nothing is lost, nothing given away twice."""

import os
import random
import threading
import time

from harness import invariants
from harness.api import Api
from harness.objects import ALLOCATION, Node, Pod
from harness.scenario import Scenario, main

KILLS = int(os.environ.get("PARTAGE_E2E_KILLS", "50"))


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


class Kill(Scenario):
    def remember_allocations(self, seen: dict[str, tuple[str, str]]) -> None:
        """Every bound pod's UID → (node, allocation), which must never change again."""
        for pod in self.api.pods("spec.nodeName!="):
            now = (pod["spec"]["nodeName"], pod["metadata"]["annotations"][ALLOCATION])
            self.assertEqual(seen.setdefault(pod["metadata"]["uid"], now), now)

    def test_killed_at_random_during_a_burst(self) -> None:
        seed = int(os.environ.get("PARTAGE_E2E_SEED", str(random.randrange(2**31))))
        print(f"PARTAGE_E2E_SEED={seed}")
        dice = random.Random(seed)
        self.nodes(*(Node(f"n{index}").gpus(8).build() for index in range(10)))
        churn, seen = Churn(self.api, random.Random(seed + 1)), {}
        churn.start()
        try:
            for _ in range(KILLS):
                if dice.random() < 0.8:
                    self.partage.wait()
                time.sleep(dice.uniform(0, 0.5))  # from before it listens to well into the burst
                self.partage.kill()
                self.remember_allocations(seen)
                self.assertEqual([], invariants.violations(self.api))
                self.partage.start()
            self.partage.wait()
        finally:
            churn.finish()
        self.wait_bound(churn.created - churn.deleted, timeout=60)
        self.remember_allocations(seen)
        self.assertEqual(churn.created - churn.deleted, {pod["metadata"]["name"] for pod in self.api.pods("spec.nodeName!=")})
        self.assertGreater(len(seen), 5 * KILLS)
        self.assert_ledger_is_true()

    def test_stops_within_five_seconds_and_comes_back_with_the_same_ledger(self) -> None:
        self.nodes(Node("n1").gpus(4).build(), Node("n2").gpus(4).hami().build())
        self.bind_together(*(Pod(f"p{index}").container("a", gpumem=1000).container("b", gpumem=500, gpucores=10).build() for index in range(12)))
        self.assert_ledger_is_true()
        before = self.ledger()
        start = time.monotonic()
        self.assertEqual(0, self.partage.stop(grace=10))
        self.assertLess(time.monotonic() - start, 5)
        self.partage.start()
        self.partage.wait()
        self.assertEqual(before, self.ledger())


if __name__ == "__main__":
    main()
