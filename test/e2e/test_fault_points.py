#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""partage-scheduler dies before and after every side effect of a bind, at the n-th bind that gets there: nothing is lost, nothing given away twice.

The deaths need a build with PARTAGE_FAULT_POINTS (the preset dev has it); the points are named in src/base/fault_point.h's callers.
"""

import os
import random
from collections.abc import Callable
from itertools import cycle, islice

from harness.churn import UnderChurn
from harness.process import eventually
from harness.scenario import main

DEATHS = int(os.environ.get("PARTAGE_E2E_DEATHS", "30"))
POINTS = [f"bind.{effect}.{when}" for effect in ("reserve", "write", "commit", "answer") for when in ("before", "after")]


class FaultPoints(UnderChurn):
    def start_to_die(self, point: str, passes: int) -> None:
        os.environ["PARTAGE_FAULT_POINT"] = f"{point}:{passes}"
        try:
            self.partage.start()
        finally:
            del os.environ["PARTAGE_FAULT_POINT"]

    def test_killed_at_every_side_effect_of_a_bind_during_a_burst(self) -> None:
        def deaths(dice: random.Random, check: Callable[[], None]) -> None:
            self.partage.kill()
            for point in islice(cycle(POINTS), DEATHS):
                self.start_to_die(point, dice.randint(1, 12))
                eventually(f"partage-scheduler dies at {point} (a build without PARTAGE_FAULT_POINTS never does)", lambda: not self.partage.running, timeout=60)
                check()
            self.partage.start()
            self.partage.wait()

        churn, seen_bound = self.live_through(deaths)
        self.assertGreater(seen_bound, 3 * DEATHS)
        print(f"  {DEATHS} deaths, {len(churn.created)} pods created, {seen_bound} seen bound", flush=True)


if __name__ == "__main__":
    main()
