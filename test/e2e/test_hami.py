#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nodes and pods as HAMi left them: counted as used, scheduled on, and written back in HAMi's own words."""

import json
import time

from harness import invariants
from harness.api import NODES, Object
from harness.objects import ALLOCATION, HAMI_ALLOCATED, HAMI_REGISTER, Gpu, Node, Pod
from harness.process import eventually
from harness.scenario import Scenario, main

HAMI_KEYS = {f"hami.io/{name}" for name in ("vgpu-node", "vgpu-time", "vgpu-devices-to-allocate", "vgpu-devices-allocated", "bind-phase", "bind-time")}


class Hami(Scenario):
    def left_by_hami(self, pod: Pod, text: str, node: str = "n1") -> Object:
        """A pod HAMi bound and whose containers run."""
        for key, value in {"vgpu-node": node, "vgpu-time": "1700000000", "vgpu-devices-allocated": text, "bind-phase": "success"}.items():
            pod.annotation(f"hami.io/{key}", value)
        (created,) = self.api.create_pods(pod.spec(nodeName=node).build())
        self.api.set_phase(pod.name, "Running")
        return created

    def used(self, uuid: str = "n1-gpu-0", node: str = "n1") -> invariants.Amount:
        return self.ledger()[node, uuid]

    def wait_used(self, slots: int, memory: int, cores: int, uuid: str = "n1-gpu-0") -> None:
        amount = invariants.Amount(slots, memory, cores)
        eventually(f"{amount} of {uuid} is taken", lambda: self.used(uuid) == amount, timeout=5)

    def test_what_hami_gave_away_is_used(self) -> None:
        self.nodes(Node("n1").gpus(1).hami().build())
        self.left_by_hami(Pod("old").container(gpumem=20000, gpucores=50), "n1-gpu-0,NVIDIA,20000,50:;")
        self.wait_used(1, 20000, 50)
        self.assertIn("4000 MiB free", self.refuse(Pod("large").container(gpumem=5000).build()))
        self.bind(Pod("small").container(gpumem=4000).build())
        self.assert_ledger_is_true()

    def test_a_trailing_empty_container_is_harmless(self) -> None:
        self.nodes(Node("n1").gpus(2).hami().build())
        self.left_by_hami(Pod("old").container("a", gpu=2, gpumem=3000, gpucores=30).container("b"), "n1-gpu-0,NVIDIA,3000,30:n1-gpu-1,NVIDIA,3000,30:;;")
        self.wait_used(1, 3000, 30)
        self.wait_used(1, 3000, 30, "n1-gpu-1")

    def test_an_entry_that_hami_left_out_does_not_shift_the_others(self) -> None:
        """HAMi drops the entry of a leading container without GPU; two app containers then add up, they are not an init container and an app container."""
        self.nodes(Node("n1").gpus(1).hami().build())
        pod = Pod("old").init("prepare").container("a", gpumem=9000).container("b", gpumem=9000)
        self.left_by_hami(pod, "n1-gpu-0,NVIDIA,9000,0:;n1-gpu-0,NVIDIA,9000,0:;")
        self.wait_used(2, 18000, 0)

    def test_a_finished_or_deleted_pod_gives_back(self) -> None:
        self.nodes(Node("n1").gpus(1).hami().build())
        for name in ("done", "gone"):
            self.left_by_hami(Pod(name).container(gpumem=1000), "n1-gpu-0,NVIDIA,1000,0:;")
        self.wait_used(2, 2000, 0)
        self.api.set_phase("done", "Succeeded")
        self.wait_used(1, 1000, 0)
        self.api.delete_pods("gone")
        self.wait_used(0, 0, 0)

    def test_the_binding_carries_hamis_annotations_too(self) -> None:
        self.nodes(Node("n1").gpus(2).hami().build())
        (pod,) = self.bind(Pod("p").init("prepare").container("a", gpu=2, gpumem=3000, gpucores=30).container("b").container("c", gpumem=500).build())
        annotations = pod["metadata"]["annotations"]
        self.assertLessEqual(HAMI_KEYS | {ALLOCATION}, annotations.keys())
        self.assertEqual(("n1", "allocating"), (annotations["hami.io/vgpu-node"], annotations["hami.io/bind-phase"]))
        for key in ("vgpu-time", "bind-time"):
            self.assertLess(abs(int(annotations[f"hami.io/{key}"]) - time.time()), 60)
        text = annotations["hami.io/vgpu-devices-to-allocate"]
        self.assertEqual(text, annotations[HAMI_ALLOCATED])
        self.assertEqual(4, text.count(";"), text)
        self.assertEqual({"NVIDIA"}, {device.split(",")[1] for entry in text.split(";") for device in entry.split(":") if device})
        ours = [sorted(container.shares, key=lambda share: share.uuid) for container in invariants.allocation(pod) or []]
        self.assertEqual(ours, [sorted(shares, key=lambda share: share.uuid) for shares in invariants.hami_shares(text)])

    def test_a_binding_on_our_own_node_does_not(self) -> None:
        self.nodes(Node("n1").gpus(1).build())
        (pod,) = self.bind(Pod("p").container(gpumem=1000).build())
        self.assertEqual(set(), HAMI_KEYS & pod["metadata"]["annotations"].keys())

    def test_our_inventory_wins_where_a_node_has_both(self) -> None:
        hami = Node("n1").gpu(Gpu("g", memory=1000)).hami().build()["metadata"]["annotations"]
        self.nodes(Node("n1").gpu(Gpu("g", memory=24000)).annotation(HAMI_REGISTER, hami[HAMI_REGISTER]).build())
        (pod,) = self.bind(Pod("p").container(gpumem=20000).build())
        self.assertNotIn(HAMI_ALLOCATED, pod["metadata"]["annotations"])

    def test_a_register_in_the_older_colon_text(self) -> None:
        self.api.create_nodes(Node("n1").annotation(HAMI_REGISTER, "n1-gpu-0,10,24000,100,NVIDIA-Tesla V100,0,true:").build())
        eventually("the node is known", lambda: ("n1", "n1-gpu-0") in self.ledger())
        self.api.create_pods(Pod("p").container(gpumem=1000).build())
        self.wait_bound({"p"})
        self.assertEqual(1000, self.ledger()["n1", "n1-gpu-0"].memory)
        self.api.delete_everything()  # the judge of invariants does not read this form

    def test_a_model_without_the_vendors_name_is_a_card(self) -> None:
        self.nodes(Node("n1").gpus(1, model="Tesla V100-SXM2-32GB").hami().build())
        self.bind(Pod("p").container(gpumem=1000).annotation("nvidia.com/use-gputype", "v100").build())

    def test_hamis_cordon_is_obeyed(self) -> None:
        self.nodes(Node("n1").gpus(2).hami().annotation("hami.io/device-cordon", "n1-gpu-0").build())
        (pod,) = self.bind(Pod("p").container(gpumem=1000).build())
        self.assertEqual(["n1-gpu-1"], self.devices_of(pod))

    def test_hamis_link_scores_are_used(self) -> None:
        pairs = {("g0", "g1"): 10, ("g0", "g2"): 160, ("g1", "g2"): 10}
        scores = [{"uuid": own, "score": {(set(pair) - {own}).pop(): score for pair, score in pairs.items() if own in pair}} for own in ("g0", "g1", "g2")]
        node = Node("n1").hami().annotation("hami.io/node-nvidia-score", json.dumps(scores))
        for uuid in ("g0", "g1", "g2"):
            node.gpu(Gpu(uuid))
        self.nodes(node.build())
        (pod,) = self.bind(Pod("p").container(gpu=2, gpumem=1000).annotation("hami.io/gpu-scheduler-policy", "topology-aware").build())
        self.assertEqual(["g0", "g2"], sorted(self.devices_of(pod)))

    def test_the_ledger_of_a_hami_cluster_survives_a_restart(self) -> None:
        self.nodes(Node("n1").gpus(2).hami().build())
        self.left_by_hami(Pod("old").container(gpumem=20000), "n1-gpu-0,NVIDIA,20000,0:;")
        self.bind(*(Pod(f"p{index}").container(gpumem=3000).build() for index in range(3)))
        self.assert_ledger_is_true()
        before = self.ledger()
        self.partage.kill()
        self.partage.start()
        self.partage.wait()
        self.assertEqual(before, self.ledger())

    def test_a_node_whose_register_changes(self) -> None:
        self.nodes(Node("n1").gpus(1).hami().build())
        self.refuse(Pod("p").container(gpu=2, gpumem=1000).build())
        self.api.annotate(f"{NODES}/n1", Node("n1").gpus(2).hami().build()["metadata"]["annotations"])
        self.wait_bound({"p"}, timeout=10)


if __name__ == "__main__":
    main()
