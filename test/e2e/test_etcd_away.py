#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""etcd does not answer in the middle of a burst: writes are taken by the API server, hang, and are executed or not, long after the caller has gone."""

import os
import signal
import time

from harness.outage import Outage
from harness.scenario import main


class EtcdAway(Outage):
    def test_stopped_for_twenty_seconds_in_a_burst(self) -> None:
        def stand_still() -> None:
            os.kill(self.control_plane.etcd.pid, signal.SIGSTOP)
            try:
                time.sleep(20)
            finally:
                os.kill(self.control_plane.etcd.pid, signal.SIGCONT)
            self.control_plane.wait_apiserver()

        self.survive(stand_still)

    def test_killed_in_a_burst_and_started_again(self) -> None:
        def die() -> None:
            self.control_plane.etcd.kill()
            time.sleep(3)
            self.control_plane.etcd.start()
            self.control_plane.wait_apiserver()

        self.survive(die)


if __name__ == "__main__":
    main()
