#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Wall clocks that jump by an hour, back and forth, in the middle of a burst: the lease stays where it is, and each pod is bound once."""

import datetime
import struct
import time
from pathlib import Path
from typing import ClassVar

from harness import invariants
from harness.burst import Burst
from harness.control_plane import Partage, program
from harness.process import eventually
from harness.scenario import _work_folder, main
import test_failover

HOUR = 3600
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/partage-scheduler"


class WallClock:
    """What one process takes for the time of day; see test/support/wall_clock.cc."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(struct.pack("q", 0))

    def command(self, command: list[str]) -> list[str]:
        library = Path(program("partage-scheduler", "PARTAGE_SCHEDULER")).parents[1] / "lib/libpartage_wall_clock.so"  # of the same build
        assert library.exists(), f"no {library}: run ./run e2e"
        return ["env", f"LD_PRELOAD={library}", f"PARTAGE_WALL_CLOCK={self._path}", *command]

    def is_off_by(self, seconds: int) -> None:
        with self._path.open("r+b") as file:
            file.write(struct.pack("q", seconds))


class ClockJumps(test_failover.Replicas):
    shape = "follow"
    spares_the_stopped = False
    clocks: ClassVar[dict[str, WallClock]] = {}

    @classmethod
    def _replica(cls, host: str, arguments: list[str]) -> Partage:
        replica = super()._replica(host, arguments)
        cls.clocks[host] = WallClock(_work_folder() / f"{host}.clock")
        replica.command = cls.clocks[host].command(replica.command)
        return replica

    def jump(self, seconds: int, *hosts: str) -> None:
        """Their clocks are off by so much from now on, through two renewals of the lease and some more binds."""
        for host in hosts:
            self.clocks[host].is_off_by(seconds)
        before = self.bound()
        time.sleep(2.5)
        eventually("binding goes on", lambda: self.bound() >= before + 50)

    def renewed_ago(self) -> float:
        """By the lease's own word, which is written with the clock of the active replica."""
        renewed = datetime.datetime.fromisoformat(self.api.call("GET", LEASE)["spec"]["renewTime"].replace("Z", "+00:00"))
        return time.time() - renewed.timestamp()

    def changes(self) -> float:
        return sum(extender.metric("partage_active_changes_total") for extender in self.extenders.values())

    def test_clocks_jump_in_a_burst(self) -> None:
        changes, standby = self.changes(), next(host for host in test_failover.HOSTS if host != self.active)
        burst = Burst(self.api)
        burst.start()
        try:
            eventually("the burst is under way", lambda: self.bound() >= 50, every=0.05)
            self.jump(HOUR, self.active)
            self.assertLess(self.renewed_ago(), 60 - HOUR, "the clock of the active replica was set")
            self.jump(HOUR, standby)
            self.jump(0, self.active)
            self.assertGreater(self.renewed_ago(), -60)
            self.jump(HOUR, self.active)
            self.jump(0, self.active, standby)
        finally:
            created = burst.finish()
        self.wait_bound(created)
        self.assertEqual([self.active], self.active_hosts())
        self.assertEqual(changes, self.changes(), "nobody lost the lease")
        self.assertEqual(created, {pod["metadata"]["name"] for pod in self.api.pods()})
        self.assertEqual([], invariants.violations(self.api))
        self.assert_ledger_is_true()


if __name__ == "__main__":
    main()
