#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every policy, seen in where pods land."""

from harness.api import Object
from harness.objects import Gpu, Node, Pod
from harness.scenario import Scenario, main


def pod(name: str, count: int = 1, node_policy: str = "", device_policy: str = "", memory: int = 1000) -> Object:
    builder = Pod(name).container(gpu=count, gpumem=memory)
    if node_policy:
        builder.annotation("hami.io/node-scheduler-policy", node_policy)
    if device_policy:
        builder.annotation("hami.io/gpu-scheduler-policy", device_policy)
    return builder.build()


class NodePolicies(Scenario):
    def places(self, **policy: str) -> list[str]:
        """Nodes of three pods, one after another, on three equal nodes."""
        self.nodes(*(Node(f"n{index}").gpus(2).build() for index in range(3)))
        return [bound["spec"]["nodeName"] for bound in self.bind(*(pod(f"p{index}", **policy) for index in range(3)))]

    def test_binpack_fills_one_node(self) -> None:
        self.assertEqual(["n0", "n0", "n0"], self.places(node_policy="binpack"))

    def test_spread_uses_all_nodes(self) -> None:
        self.assertEqual({"n0", "n1", "n2"}, set(self.places(node_policy="spread")))

    def test_the_default_is_binpack(self) -> None:
        self.assertEqual(["n0", "n0", "n0"], self.places())

    def test_binpack_prefers_the_fuller_node_whatever_its_name(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(2).build() for index in range(3)))
        self.bind(Pod("first").container(gpumem=8000).spec(nodeSelector={"kubernetes.io/hostname": "n2"}).build())
        self.assertEqual("n2", self.bind(pod("second", node_policy="binpack"))[0]["spec"]["nodeName"])

    def test_a_stated_preference_for_a_node_is_heard(self) -> None:
        """kube-scheduler's own scores choose among the nodes that fit when the pod states a preference."""
        self.nodes(*(Node(f"n{index}").gpus(2).label("disk", "fast" if index == 1 else "slow").build() for index in range(3)))
        term = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["fast"]}]}
        affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]}}
        (bound,) = self.bind(Pod("p").container(gpumem=1000).spec(affinity=affinity).build())
        self.assertEqual("n1", bound["spec"]["nodeName"])


class DevicePolicies(Scenario):
    def cards(self, *pods: Object) -> list[list[str]]:
        return [sorted(self.devices_of(bound)) for bound in self.bind(*pods)]

    def test_binpack_fills_one_card(self) -> None:
        self.nodes(Node("n").gpus(4).build())
        self.assertEqual([["n-gpu-0"]] * 3, self.cards(*(pod(f"p{index}", device_policy="binpack") for index in range(3))))

    def test_spread_uses_all_cards(self) -> None:
        self.nodes(Node("n").gpus(4).build())
        cards = self.cards(*(pod(f"p{index}", device_policy="spread") for index in range(4)))
        self.assertEqual(4, len({uuid for (uuid,) in cards}))

    def test_the_default_is_spread(self) -> None:
        self.nodes(Node("n").gpus(4).build())
        self.assertEqual(4, len({uuid for (uuid,) in self.cards(*(pod(f"p{index}") for index in range(4)))}))

    def test_numa_keeps_the_cards_of_a_container_together(self) -> None:
        node = Node("n")
        for index, numa in enumerate([0, 1, 2, 1]):
            node.gpu(Gpu(f"g{index}", numa=numa))
        self.nodes(node.build())
        self.assertEqual([["g1", "g3"]], self.cards(pod("p", count=2, device_policy="numa,binpack")))

    def test_numa_is_a_wish_not_a_condition(self) -> None:
        self.nodes(Node("n").gpu(Gpu("a", numa=0)).gpu(Gpu("b", numa=1)).build())
        self.assertEqual([["a", "b"]], self.cards(pod("p", count=2, device_policy="numa")))

    def linked_node(self) -> Object:
        """Four cards: g0-g3 and g1-g2 linked by NVLink, the first pair more strongly; g2 is the least connected of all."""
        links = {("g0", "g1"): 20, ("g0", "g2"): 10, ("g0", "g3"): 460, ("g1", "g2"): 160, ("g1", "g3"): 20, ("g2", "g3"): 10}
        node = Node("n")
        for uuid in ("g0", "g1", "g2", "g3"):
            node.gpu(Gpu(uuid, links={(set(pair) - {uuid}).pop(): score for pair, score in links.items() if uuid in pair}))
        return node.build()

    def test_topology_aware_takes_the_best_linked_cards(self) -> None:
        self.nodes(self.linked_node())
        cards = self.cards(*(pod(f"p{index}", count=2, memory=20000, device_policy="topology-aware") for index in range(2)))
        self.assertEqual([["g0", "g3"], ["g1", "g2"]], cards)

    def test_topology_aware_leaves_the_best_linked_cards_to_others(self) -> None:
        self.nodes(self.linked_node())
        self.assertEqual([["g2"]], self.cards(pod("p", device_policy="topology-aware")))

    def test_mutex_takes_only_unused_cards(self) -> None:
        self.nodes(Node("n").gpus(2).build())
        self.assertEqual([["n-gpu-0"], ["n-gpu-1"]], self.cards(*(pod(f"p{index}", device_policy="mutex") for index in range(2))))
        self.refuse(pod("third", device_policy="mutex"))
        self.bind(pod("other", device_policy="binpack"))

    def test_the_first_policy_of_a_list_decides(self) -> None:
        self.nodes(Node("n").gpus(3).build())
        self.assertEqual([["n-gpu-0"], ["n-gpu-0"]], self.cards(*(pod(f"p{index}", device_policy="binpack,spread") for index in range(2))))


if __name__ == "__main__":
    main()
