#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""partage-scheduler dies at any instruction: nothing is lost, nothing given away twice."""

import os
import random
import time
from collections.abc import Callable

from harness.churn import UnderChurn
from harness.objects import Node, Pod
from harness.scenario import main

KILLS = int(os.environ.get("PARTAGE_E2E_KILLS", "50"))


class Kill(UnderChurn):
    def test_killed_at_random_during_a_burst(self) -> None:
        def deaths(dice: random.Random, check: Callable[[], None]) -> None:
            for _ in range(KILLS):
                if dice.random() < 0.8:
                    self.partage.wait()
                time.sleep(dice.uniform(0, 0.5))  # from before it listens to well into the burst
                self.partage.kill()
                check()
                self.partage.start()
            self.partage.wait()

        _, seen_bound = self.live_through(deaths)
        self.assertGreater(seen_bound, 5 * KILLS)

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
