#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every form of request, from the pod as a user writes it to the allocation in the bound pod."""

import json

from harness import invariants
from harness.api import ApiError, Object
from harness.invariants import Amount, Share
from harness.objects import ALLOCATION, Gpu, Node, Pod
from harness.scenario import Scenario, main


class Quantities(Scenario):
    def given(self, **quantities: int | str) -> list[Share]:
        """What a pod with one such container gets on an empty node of two 24,000 MiB cards."""
        self.nodes(Node("n1").gpus(2).build())
        (pod,) = self.bind(Pod("p").container(**quantities).build())
        (container,) = invariants.allocation(pod) or []
        return container.shares

    def test_a_count_alone_is_a_whole_card_for_oneself(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 24000, 100)], self.given(gpu=1))
        self.bind(Pod("small").container(gpumem=1).build())
        self.assertEqual(["n1-gpu-1"], self.devices_of(self.api.pod("small")))

    def test_memory_in_mib(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 3000, 0)], self.given(gpu=1, gpumem=3000))

    def test_memory_in_percent_of_the_card(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 6000, 0)], self.given(gpu=1, gpumem_percentage=25))

    def test_cores_alone_take_the_memory_of_the_whole_card(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 24000, 30)], self.given(gpu=1, gpucores=30))

    def test_memory_and_cores(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 2500, 30)], self.given(gpu=1, gpumem=2500, gpucores=30))

    def test_memory_without_a_count_is_one_card(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 3000, 0)], self.given(gpumem=3000))

    def test_percent_without_a_count_is_one_card(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 12000, 0)], self.given(gpumem_percentage=50))

    def test_cores_without_a_count_are_one_card(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 24000, 10)], self.given(gpucores=10))

    def test_memory_zero_is_the_whole_memory_but_not_exclusive(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 24000, 0)], self.given(gpu=1, gpumem=0))

    def test_more_than_100_cores_count_as_100(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 1000, 100)], self.given(gpu=1, gpumem=1000, gpucores=150))

    def test_memory_wins_over_percent(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 1000, 0)], self.given(gpu=1, gpumem=1000, gpumem_percentage=50))

    def test_exponents_and_suffixes_are_numbers_too(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 1000, 0)], self.given(gpumem="1e3"))
        self.bind(Pod("k").container(gpumem="3k").build())
        self.assertEqual([], invariants.violations(self.api))

    def test_several_cards_are_distinct(self) -> None:
        self.assertEqual([Share("n1-gpu-0", 1000, 10), Share("n1-gpu-1", 1000, 10)], self.given(gpu=2, gpumem=1000, gpucores=10))

    def test_priority_is_written_into_the_allocation(self) -> None:
        self.given(gpumem=1000, priority=1)
        written = json.loads(self.api.pod("p")["metadata"]["annotations"][ALLOCATION])
        self.assertEqual(1, written["containers"][0]["priority"])

    def test_a_pod_without_gpu_is_none_of_our_business(self) -> None:
        self.nodes(Node("n1").gpus(1).build())
        (pod,) = self.bind(Pod("plain").container("main").build())
        self.assertNotIn(ALLOCATION, pod["metadata"].get("annotations", {}))
        self.assertEqual({("n1", "n1-gpu-0"): Amount()}, self.ledger())


class Containers(Scenario):
    def usage(self, pod: Object) -> Amount:
        """What the pod takes off the only card of its node; partage-scheduler's ledger must agree."""
        self.assert_ledger_is_true()
        return invariants.usage(invariants.allocation(pod) or [])["n1-gpu-0"]

    def test_each_container_has_its_entry_even_without_a_device(self) -> None:
        self.nodes(Node("n1").gpus(1).build())
        (pod,) = self.bind(Pod("p").init("prepare").container("a", gpumem=1000).container("b").container("c", gpumem=2000).build())
        self.assertEqual(["prepare", "a", "b", "c"], [c.name for c in invariants.allocation(pod) or []])
        self.assertEqual([[], ["n1-gpu-0"], [], ["n1-gpu-0"]], [self.devices_of(pod, name) for name in ("prepare", "a", "b", "c")])
        self.assertEqual(Amount(2, 3000, 0), self.usage(pod))

    def test_an_init_container_counts_only_while_it_is_larger(self) -> None:
        self.nodes(Node("n1").gpus(1, memory=10000).build())
        (pod,) = self.bind(Pod("p").init("prepare", gpumem=9000).container("main", gpumem=4000).build())
        self.assertEqual(Amount(1, 9000, 0), self.usage(pod))
        self.refuse(Pod("more").container(gpumem=1001).build())
        self.bind(Pod("rest").container(gpumem=1000).build())

    def test_a_sidecar_adds_to_what_runs_beside_it(self) -> None:
        self.nodes(Node("n1").gpus(1, memory=10000).build())
        (pod,) = self.bind(Pod("p").sidecar("proxy", gpumem=2000).init("prepare", gpumem=8000).container("main", gpumem=5000).build())
        self.assertEqual(Amount(2, 10000, 0), self.usage(pod))
        self.refuse(Pod("more").container(gpumem=1).build())

    def test_a_sidecar_that_starts_after_an_init_container_does_not_run_beside_it(self) -> None:
        self.nodes(Node("n1").gpus(1, memory=10000).build())
        (pod,) = self.bind(Pod("p").init("prepare", gpumem=9000).sidecar("proxy", gpumem=4000).container("main", gpumem=5000).build())
        self.assertEqual(Amount(2, 9000, 0), self.usage(pod))

    def test_a_sidecar_and_an_app_container_that_exceed_the_card_together_are_refused(self) -> None:
        self.nodes(Node("n1").gpus(1, memory=10000).build())
        self.refuse(Pod("p").sidecar("proxy", gpumem=6000).container("main", gpumem=5000).build())

    def test_containers_are_placed_so_that_all_find_room(self) -> None:
        """The first container fits both cards, the second only the one that is larger."""
        self.nodes(Node("n1").gpu(Gpu("small", memory=8000)).gpu(Gpu("large", memory=24000)).build())
        (pod,) = self.bind(Pod("p").container("a", gpumem=6000).container("b", gpumem=20000).build())
        self.assertEqual((["small"], ["large"]), (self.devices_of(pod, "a"), self.devices_of(pod, "b")))


class Constraints(Scenario):
    def devices(self, count: int, **annotations: str) -> list[str]:
        """Cards that a pod with these nvidia.com/… annotations gets of four: two L4 on NUMA node 0, two A100 on NUMA node 1."""
        node = Node("n1")
        for index, (model, numa) in enumerate([("NVIDIA L4", 0), ("NVIDIA A100-SXM4-80GB", 1)] * 2):
            node.gpu(Gpu(f"g{index}", model=model, numa=numa))
        self.nodes(node.build())
        pod = Pod("p").container(gpu=count, gpumem=1000)
        for name, value in annotations.items():
            pod.annotation(name if "/" in name else f"nvidia.com/{name.replace('_', '-')}", value)
        return sorted(self.devices_of(self.bind(pod.build())[0]))

    def test_only_these_uuids(self) -> None:
        self.assertEqual(["g2", "g3"], self.devices(2, use_gpuuuid="g3, g2"))

    def test_not_these_uuids(self) -> None:
        self.assertEqual(["g1"], self.devices(1, nouse_gpuuuid="g0,g2,g3"))

    def test_only_this_model_in_any_case(self) -> None:
        self.assertEqual(["g1", "g3"], self.devices(2, use_gputype="a100"))

    def test_not_this_model(self) -> None:
        self.assertEqual(["g0", "g2"], self.devices(2, nouse_gputype="A100"))

    def test_one_numa_node(self) -> None:
        self.assertIn(self.devices(2, numa_bind="true"), [["g0", "g2"], ["g1", "g3"]])
        self.refuse(Pod("three").container(gpu=3, gpumem=1000).annotation("nvidia.com/numa-bind", "true").build())

    def test_the_same_under_our_own_prefix(self) -> None:
        self.assertEqual(["g3"], self.devices(1, **{"partage.dev/use-gpuuuid": "g3"}))

    def test_an_unhealthy_or_cordoned_card_is_not_given(self) -> None:
        self.nodes(Node("n1").gpu(Gpu("ill", healthy=False)).gpu(Gpu("cordoned", cordoned=True)).gpu(Gpu("well")).build())
        (pod,) = self.bind(Pod("p").container(gpumem=1000).build())
        self.assertEqual(["well"], self.devices_of(pod))
        self.refuse(Pod("two").container(gpu=2, gpumem=1000).build())


class WrongRequests(Scenario):
    """What a user did wrong is said in the event, with the way out."""

    def says_of(self, policy: str) -> str:
        self.nodes(Node("n1").gpus(1).build())
        return self.refuse(Pod("wrong").container(gpumem=1000).annotation("hami.io/gpu-scheduler-policy", policy).build())

    def says(self, *words: str, container: dict[str, int | str] | None = None, **annotations: str) -> None:
        self.nodes(Node("n1").gpus(2).build())
        pod = Pod("wrong").container(**(container or {"gpumem": 1000}))
        for name, value in annotations.items():
            pod.annotation(name.replace("__", "/").replace("_", "-").replace("hami/", "hami.io/").replace("nvidia/", "nvidia.com/"), value)
        text = self.refuse(pod.build())
        for word in words:
            self.assertIn(word, text)

    def test_memory_in_bytes(self) -> None:
        self.says("main", "nvidia.com/gpumem", '"16Gi"', "16384", container={"gpu": 1, "gpumem": "16Gi"})

    def test_more_than_all_the_memory_of_a_card(self) -> None:
        self.says("nvidia.com/gpumem-percentage", "120", "100", container={"gpu": 1, "gpumem_percentage": 120})

    def test_an_unknown_node_policy(self) -> None:
        self.says("hami.io/node-scheduler-policy", "binpak", "binpack", "spread", hami__node_scheduler_policy="binpak")

    def test_an_unknown_device_policy(self) -> None:
        self.says("hami.io/gpu-scheduler-policy", "fast", "topology-aware", hami__gpu_scheduler_policy="binpack,fast")

    def test_numa_bind_that_is_no_boolean(self) -> None:
        self.says("nvidia.com/numa-bind", "yes", "true", nvidia__numa_bind="yes")

    def test_scoring_weights_that_are_none(self) -> None:
        self.says("hami.io/device-scoring-weights", "slot=1,core=x", hami__device_scoring_weights="slot=1,core=x")

    def test_percent_signs_survive_kube_scheduler(self) -> None:
        """It takes our text for a printf format."""
        self.assertNotIn("%!", self.says_of("100%s"))

    def test_fractions_and_negative_numbers_do_not_pass_the_api_server(self) -> None:
        for quantity in ("0.5", "-1", "1.5k1"):
            with self.assertRaises(ApiError) as refused:
                self.api.create_pods(Pod("p").container(gpu=1, gpumem=quantity).build())
            self.assertIn(refused.exception.status, (400, 422))


if __name__ == "__main__":
    main()
