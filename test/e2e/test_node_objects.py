#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nodeCacheCapable: false, where kube-scheduler sends whole Node objects and expects them back: slower, but right."""

from harness.objects import Node, Pod, shares
from harness.scenario import Scenario, main


class NodeObjects(Scenario):
    node_cache_capable = False

    def test_pods_are_placed_all_the_same(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(2).build() for index in range(4)))
        spread = Pod("spread").container(gpumem=1000).annotation("hami.io/node-scheduler-policy", "spread").build()
        self.bind(spread, *shares(10, gpumem=2000))
        self.bind_together(*shares(20, prefix="burst", gpumem=3000))
        self.assert_ledger_is_true()

    def test_refusals_are_told_all_the_same(self) -> None:
        self.nodes(Node("n").gpus(1, memory=1000).build())
        self.assertIn("no GPU has 2000 MiB", self.refuse(Pod("p").container(gpumem=2000).build()))

    def test_a_stated_preference_is_heard(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(2).label("disk", "fast" if index == 1 else "slow").build() for index in range(3)))
        term = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["fast"]}]}
        affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]}}
        (bound,) = self.bind(Pod("p").container(gpumem=1000).spec(affinity=affinity).build())
        self.assertEqual("n1", bound["spec"]["nodeName"])

    def test_the_cost_is_logged_once(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.bind(*shares(3, gpumem=100))
        self.assertEqual(1, self.partage.log.read_text().count("nodeCacheCapable"))


if __name__ == "__main__":
    main()
