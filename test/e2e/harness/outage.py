# SPDX-License-Identifier: Apache-2.0
"""Base of the scenarios in which something the scheduler leans on goes away or changes in the middle of a burst."""

import collections
from collections.abc import Callable

from . import invariants
from .burst import Burst
from .objects import Node
from .process import eventually
from .scenario import Scenario


class Outage(Scenario):
    """Room for 2,560 pods; survive() is the one story."""

    audit = True

    def survive(self, trouble: Callable[[], None]) -> int:
        """In the middle of a burst comes the trouble; when it is over, the rest of the burst is bound all the same: each pod once, nothing lost, nothing given twice.

        Returns how often the creation of a pod had to be tried again."""
        self.nodes(*(Node(f"n{index}").gpus(8, slots=20).build() for index in range(16)))
        audited = len(self.control_plane.audited())
        burst = Burst(self.api, most_waiting=300)
        burst.start()
        try:
            self.wait_more_bound(50)
            trouble()
            self.wait_more_bound(20)
        finally:
            created = burst.finish()
        self.wait_bound(created, timeout=60)
        self.assertEqual(created, {pod["metadata"]["name"] for pod in self.api.pods()})
        self.assertEqual([], invariants.violations(self.api))
        self.assert_ledger_is_true()
        self.assert_each_bound_once(created, audited)
        return burst.retried

    def wait_more_bound(self, count: int) -> None:
        before = self.bound()
        eventually(f"{count} more pods are bound", lambda: self.bound() >= before + count, timeout=90, every=0.1)  # kube-scheduler itself waits up to a minute

    def bound(self) -> int:
        return len(self.api.pods("spec.nodeName!="))

    def assert_each_bound_once(self, created: set[str], audited: int) -> None:
        """By the API server's own log, from its event `audited` on. The answer to a Binding may have died with it; a second success may not exist."""
        refs = [event["objectRef"] for event in self.control_plane.audited()[audited:] if event.get("responseStatus", {}).get("code") == 201]
        bindings = collections.Counter(ref["name"] for ref in refs if ref.get("subresource") == "binding")
        self.assertEqual({}, {name: times for name, times in bindings.items() if times > 1})
        self.assertGreater(len(bindings), len(created) // 2)
