#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""partage-scheduler dies before and after every side effect of a bind, at the n-th bind that gets there: nothing is lost, nothing given away twice.

The deaths need a build with PARTAGE_FAULT_POINTS (the preset dev has it); the points are named in src/base/fault_point.h's callers.
"""

import os
import random
from itertools import cycle, islice

from harness import invariants
from harness.objects import ALLOCATION, Node
from harness.process import eventually
from harness.scenario import Scenario, main
from test_kill import Churn

DEATHS = int(os.environ.get("PARTAGE_E2E_DEATHS", "30"))
POINTS = [f"bind.{effect}.{when}" for effect in ("reserve", "write", "commit", "answer") for when in ("before", "after")]


class FaultPoints(Scenario):
    def remember_allocations(self, seen: dict[str, tuple[str, str]]) -> None:
        """Every bound pod's UID → (node, allocation), which must never change again."""
        for pod in self.api.pods("spec.nodeName!="):
            now = (pod["spec"]["nodeName"], pod["metadata"]["annotations"][ALLOCATION])
            self.assertEqual(seen.setdefault(pod["metadata"]["uid"], now), now)

    def start_to_die(self, point: str, passes: int) -> None:
        os.environ["PARTAGE_FAULT_POINT"] = f"{point}:{passes}"
        try:
            self.partage.start()
        finally:
            del os.environ["PARTAGE_FAULT_POINT"]

    def test_killed_at_every_side_effect_of_a_bind_during_a_burst(self) -> None:
        seed = int(os.environ.get("PARTAGE_E2E_SEED", str(random.randrange(2**31))))
        print(f"PARTAGE_E2E_SEED={seed}")
        dice = random.Random(seed)
        self.nodes(*(Node(f"n{index}").gpus(8).build() for index in range(10)))
        churn, seen = Churn(self.api, random.Random(seed + 1)), {}
        churn.start()
        try:
            self.partage.kill()
            for point in islice(cycle(POINTS), DEATHS):
                self.start_to_die(point, dice.randint(1, 12))
                eventually(f"partage-scheduler dies at {point} (a build without PARTAGE_FAULT_POINTS never does)", lambda: not self.partage.running, timeout=60)
                self.remember_allocations(seen)
                self.assertEqual([], invariants.violations(self.api))
            self.partage.start()
            self.partage.wait()
        finally:
            churn.finish()
        self.wait_bound(churn.created - churn.deleted, timeout=60)
        self.remember_allocations(seen)
        self.assertGreater(len(seen), 3 * DEATHS)
        self.assert_ledger_is_true()
        print(f"  {DEATHS} deaths, {len(churn.created)} pods created, {len(seen)} seen bound", flush=True)


if __name__ == "__main__":
    main()
