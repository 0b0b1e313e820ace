#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A pod refused for want of a share is bound within a second of one coming free; kube-scheduler alone would take five minutes."""

import json
import time
from collections.abc import Callable

from harness.api import NODES, Object
from harness.objects import INVENTORY, Gpu, Node, Pod, shares
from harness.scenario import Scenario, main


class Requeue(Scenario):
    def full_node(self) -> Object:
        """Node n with one card, given away; pod "waiting" has been refused and its back-off is over."""
        self.nodes(Node("n").gpus(1).build())
        self.bind(Pod("holder").container(gpumem=20000).build())
        self.refuse(Pod("waiting").container(gpumem=5000).build())
        time.sleep(2.5)
        return self.api.node("n")

    def assert_bound_soon_after(self, free: Callable[[], object], within: float = 1.0) -> None:
        start = time.monotonic()
        free()
        self.wait_bound({"waiting"}, timeout=5)
        self.assertLess(time.monotonic() - start, within)

    def test_when_a_pod_is_deleted(self) -> None:
        self.full_node()
        self.assert_bound_soon_after(lambda: self.api.delete_pods("holder"))

    def test_when_a_pod_succeeds(self) -> None:
        self.full_node()
        self.assert_bound_soon_after(lambda: self.api.set_phase("holder", "Succeeded"))

    def test_when_a_pod_fails(self) -> None:
        self.full_node()
        self.assert_bound_soon_after(lambda: self.api.set_phase("holder", "Failed"))

    def test_when_a_node_gets_another_card(self) -> None:
        node = self.full_node()
        inventory = json.loads(node["metadata"]["annotations"][INVENTORY])
        inventory["devices"].append(Gpu("new").inventory_entry(1))
        self.assert_bound_soon_after(lambda: self.api.annotate(f"{NODES}/n", {INVENTORY: json.dumps(inventory)}))

    def test_when_a_node_is_added(self) -> None:
        self.full_node()
        self.assert_bound_soon_after(lambda: self.api.create_nodes(Node("second").gpus(1).build()))

    def test_when_a_cordon_is_lifted(self) -> None:
        gpu = Gpu("g", cordoned=True)
        self.nodes(Node("n").gpu(gpu).build())
        self.refuse(Pod("waiting").container(gpumem=5000).build())
        time.sleep(2.5)
        gpu.cordoned = False
        self.assert_bound_soon_after(lambda: self.api.annotate(f"{NODES}/n", {INVENTORY: Node("n").gpu(gpu).build()["metadata"]["annotations"][INVENTORY]}))

    def test_all_that_fit_into_what_came_free(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.bind(Pod("holder").container(gpu=1).build())
        waiting = shares(10, prefix="waiting", gpumem=2400)
        for pod in waiting:
            self.refuse(pod)
        time.sleep(2.5)
        start = time.monotonic()
        self.api.delete_pods("holder")
        self.wait_bound({pod["metadata"]["name"] for pod in waiting}, timeout=10)
        self.assertLess(time.monotonic() - start, 2)

    def test_a_pod_that_still_does_not_fit_stays_quiet(self) -> None:
        """What comes free elsewhere does not wake a pod that would be refused again."""
        self.nodes(Node("n").gpus(2).build())
        self.bind(Pod("a").container(gpumem=1000).build())
        self.refuse(Pod("waiting").container(gpu=3).build())
        time.sleep(2.5)
        before = self.partage.metric("partage_requeue_patches_total")
        self.api.delete_pods("a")
        time.sleep(2)
        self.assertEqual(before, self.partage.metric("partage_requeue_patches_total"))


if __name__ == "__main__":
    main()
