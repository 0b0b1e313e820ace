#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The API server dies in the middle of a burst and comes back: what it was about to write is found out, and nothing is bound twice."""

import time

from harness.outage import Outage
from harness.scenario import main


class ApiServerAway(Outage):
    def restart(self, away: float) -> None:
        apiserver = self.control_plane.apiserver
        apiserver.kill()
        time.sleep(away)
        apiserver.start()
        self.control_plane.wait_apiserver()

    def test_killed_in_a_burst_and_started_again_at_once(self) -> None:
        def twice() -> None:
            self.restart(away=0)
            self.wait_more_bound(50)
            self.restart(away=0)

        self.survive(twice)

    def test_killed_in_a_burst_and_away_for_longer_than_a_bind_may_take(self) -> None:
        self.survive(lambda: self.restart(away=10))


if __name__ == "__main__":
    main()
