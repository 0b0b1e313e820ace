#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The event of a pod that fits nowhere carries the arithmetic, grouped over nodes, and stays the same while the facts do."""

import time

from harness.objects import Gpu, Node, Pod
from harness.scenario import Scenario, main


class Refusals(Scenario):
    def assert_says(self, pod: Pod, *words: str) -> str:
        text = self.refuse(pod.build())
        for word in words:
            self.assertIn(word, text)
        return text

    def test_memory_says_what_the_nearest_card_lacks(self) -> None:
        self.nodes(Node("n1").gpus(2, memory=24000).build(), Node("n2").gpus(1, memory=24000).build())
        for index, memory in enumerate([20000, 6000]):
            self.bind(Pod(f"used-{index}").container(gpumem=memory).annotation("nvidia.com/use-gpuuuid", f"n1-gpu-{index}").build())
        self.bind(Pod("used-2").container(gpumem=10000).annotation("nvidia.com/use-gpuuuid", "n2-gpu-0").build())
        text = self.assert_says(Pod("p").container(gpumem=20480), "0/2 nodes are available", "20480 MiB", "GPU 1 of n1", "18000 MiB free", "2480 short")
        self.assertEqual(1, text.count("nearest"), text)

    def test_cores_say_what_is_missing(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.bind(Pod("used").container(gpumem=1, gpucores=70).build())
        self.assert_says(Pod("p").container(gpumem=1, gpucores=50), "50 percent", "30 percent free", "20 short")

    def test_slots_say_so(self) -> None:
        self.nodes(Node("n").gpus(1, slots=1).build())
        self.bind(Pod("used").container(gpumem=1).build())
        self.assert_says(Pod("p").container(gpumem=1), "slot")

    def test_a_card_in_use_is_not_exclusive(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.bind(Pod("used").container(gpumem=1).build())
        self.assert_says(Pod("p").container(gpu=1), "unused GPU")

    def test_more_cards_than_the_node_has(self) -> None:
        self.nodes(Node("n").gpus(2).build())
        self.assert_says(Pod("p").container(gpu=3), "fewer than the 3 GPUs", "2 of 3")

    def test_more_memory_than_any_card_has_at_all(self) -> None:
        self.nodes(Node("n").gpus(2, memory=24000).build())
        self.assert_says(Pod("p").container(gpumem=24001), "no GPU has 24001 MiB at all", "24000")

    def test_no_card_of_the_wanted_model_or_uuid(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.assert_says(Pod("model").container(gpumem=1).annotation("nvidia.com/use-gputype", "H100"), "type")
        self.assert_says(Pod("uuid").container(gpumem=1).annotation("nvidia.com/use-gpuuuid", "other"), "UUID")

    def test_unhealthy_and_cordoned_cards(self) -> None:
        self.nodes(Node("n1").gpu(Gpu("a", healthy=False)).build(), Node("n2").gpu(Gpu("b", cordoned=True)).build())
        self.assert_says(Pod("p").container(gpumem=1), "0/2 nodes are available", "no healthy GPU", "cordoned")

    def test_nodes_without_cards_are_counted_together(self) -> None:
        self.nodes(Node("gpu").gpus(1, memory=1000).build())
        self.api.create_nodes(*(Node(f"plain-{index}").build() for index in range(3)))
        self.assert_says(Pod("p").container(gpumem=2000), "0/4 nodes are available", "1000")

    def test_equal_nodes_are_counted_together(self) -> None:
        self.nodes(*(Node(f"n{index:02}").gpus(1, memory=1000 + index).build() for index in range(20)))
        text = self.assert_says(Pod("p").container(gpumem=2000), "0/20 nodes are available", "19 ", "1019")
        self.assertLess(len(text), 400, text)

    def test_the_text_stays_the_same_while_the_facts_do(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(2, memory=8000).build() for index in range(3)))
        self.refuse(Pod("p").container(gpumem=9000).build())
        for index in range(4):  # each wakes the pod
            self.api.annotate("/api/v1/nodes/n0", {"example.com/touched": str(index)})
            time.sleep(1.2)
        self.assertEqual(1, len(set(self.api.events("p"))), self.api.events("p"))


if __name__ == "__main__":
    main()
