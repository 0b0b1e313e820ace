#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many pods at once: all that fit are bound, and not one more."""

import random
import time

from harness.api import Object
from harness.objects import Node, Pod, shares
from harness.process import eventually
from harness.scenario import Scenario, main


def settled(pod: Object) -> bool:
    """Bound, or refused and waiting."""
    conditions = pod["status"].get("conditions", [])
    return "nodeName" in pod["spec"] or any(c["type"] == "PodScheduled" and c["reason"] == "Unschedulable" for c in conditions)


class Bursts(Scenario):
    def test_a_thousand_pods_onto_one_node_of_eight_cards(self) -> None:
        self.nodes(Node("n").gpus(8, slots=125, memory=80000).build())
        self.bind_together(*shares(1000, gpumem=640), timeout=180)
        self.assertEqual({125}, {amount.slots for amount in self.ledger().values()})
        self.assert_ledger_is_true()

    def test_two_thousand_mixed_pods_onto_fifty_nodes(self) -> None:
        self.nodes(*(Node(f"n{index:02}").gpus(8).build() for index in range(50)))
        dice = random.Random(1)
        pods = [
            Pod(f"p-{index:04}").container(gpu=dice.choice([1, 1, 1, 2]), gpumem=dice.choice([500, 1500, 3000, 5000]), gpucores=dice.choice([0, 5, 10])).build()
            for index in range(2000)
        ]
        self.bind_together(*pods, timeout=240)
        self.assert_ledger_is_true()

    def exactly(self, fitting: int, pods: list[Object]) -> None:
        """Of `pods`, created at once, `fitting` come to be bound, and it stays so."""
        self.api.create_pods(*pods)
        eventually("every pod is bound or refused", lambda: all(settled(pod) for pod in self.api.pods()), timeout=120, every=0.5)
        eventually(f"{fitting} pods are bound", lambda: len(pods) - len(self.unbound()) == fitting, timeout=30, every=0.2)
        time.sleep(3)  # long enough for another round of retries
        self.assertEqual(fitting, len(pods) - len(self.unbound()))
        self.assert_ledger_is_true()

    def test_an_oversubscribed_burst_fills_the_memory_exactly(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(4, memory=24000).build() for index in range(5)))
        self.exactly(5 * 4 * 4, shares(400, gpumem=6000))

    def test_an_oversubscribed_burst_fills_the_slots_exactly(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(4, slots=3).build() for index in range(5)))
        self.exactly(5 * 4 * 3, shares(200, gpumem=1))

    def test_an_oversubscribed_burst_fills_the_cores_exactly(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(4).build() for index in range(5)))
        self.exactly(5 * 4 * 3, shares(200, gpumem=1, gpucores=33))

    def test_an_oversubscribed_burst_of_whole_cards_in_pairs(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(5).build() for index in range(6)))
        self.exactly(6 * 2, shares(60, gpu=2))


if __name__ == "__main__":
    main()
