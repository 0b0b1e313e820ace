#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ResourceQuotas as HAMi's users write them: counted as amount times GPUs, never passed by a burst, and pods go on when there is room again."""

import time

from harness.api import Object
from harness.invariants import allocation
from harness.objects import Node, Pod, shares
from harness.scenario import Scenario, main

QUOTAS = "/api/v1/namespaces/default/resourcequotas"
MEMORY, CORES = "limits.nvidia.com/gpumem", "limits.nvidia.com/gpucores"


def quota(name: str, hard: dict[str, str], **spec: object) -> Object:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard} | spec}


class Quota(Scenario):
    def tearDown(self) -> None:
        for item in self.api.call("GET", QUOTAS)["items"]:
            self.api.call("DELETE", f"{QUOTAS}/{item['metadata']['name']}")
        super().tearDown()

    def create(self, *quotas: Object) -> None:
        """Creates them and waits until partage-scheduler knows them."""
        known = {(item["metadata"]["name"], key) for item in quotas for key in item["spec"]["hard"] if key in (MEMORY, CORES)}
        for item in quotas:
            self.api.call("POST", QUOTAS, item)
        deadline = time.monotonic() + 10
        while not all(f'partage_quota_limit{{namespace="default",quota="{name}",key="{key}"}}' in self.partage.metrics() for name, key in known):
            self.assertLess(time.monotonic(), deadline, "partage-scheduler does not know the quotas")
            time.sleep(0.05)

    def bound(self) -> list[Object]:
        return [pod for pod in self.api.pods() if pod["spec"].get("nodeName")]

    def memory_of(self, pods: list[Object]) -> int:
        return sum(share.memory for pod in pods for container in allocation(pod) or [] for share in container.shares)

    def test_the_amount_counts_once_a_gpu(self) -> None:
        self.nodes(Node("n").gpus(2).build())
        self.create(quota("q", {MEMORY: "4095"}))
        text = self.refuse(Pod("two").container(gpu=2, gpumem=2048).build())
        self.assertIn("ResourceQuota default/q: limits.nvidia.com/gpumem allows 4095 MiB in all, this pod alone asks for 4096", text)
        self.bind(Pod("one").container(gpu=1, gpumem=4095).build())

    def test_a_burst_never_passes_the_limit_and_fills_it(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(4).build() for index in range(5)))
        self.create(quota("memory", {MEMORY: "50999"}), quota("cores", {CORES: "1000"}), quota("wide", {MEMORY: "1000000", "requests.nvidia.com/gpu": "1k"}))
        self.api.create_pods(*shares(200, gpumem=1000, gpucores=1))
        deadline = time.monotonic() + 30
        while len(self.bound()) < 50 and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(3)
        self.assertEqual(50, len(self.bound()))
        self.assertEqual(50000, self.memory_of(self.bound()))

    def test_room_that_comes_free_is_used_at_once(self) -> None:
        self.nodes(Node("n1").gpus(1).build(), Node("n2").gpus(1).build())
        self.create(quota("q", {MEMORY: "6000"}))
        self.bind(Pod("holder").container(gpumem=5000).build())
        self.refuse(Pod("waiting").container(gpumem=2000).build())
        time.sleep(2.5)
        start = time.monotonic()
        self.api.delete_pods("holder")
        self.wait_bound({"waiting"}, timeout=5)
        self.assertLess(time.monotonic() - start, 1.5)

    def test_a_quota_that_is_raised_lets_pods_go_on(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.create(quota("q", {MEMORY: "1000"}))
        self.refuse(Pod("waiting").container(gpumem=2000).build())
        time.sleep(2.5)
        start = time.monotonic()
        self.api.call("PATCH", f"{QUOTAS}/q", {"spec": {"hard": {MEMORY: "2000"}}}, "application/merge-patch+json")
        self.wait_bound({"waiting"}, timeout=5)
        self.assertLess(time.monotonic() - start, 1.5)

    def test_scopes_choose_the_pods(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.create(quota("short-lived", {MEMORY: "100"}, scopes=["Terminating"]))
        self.bind(Pod("long").container(gpumem=5000).build())
        text = self.refuse(Pod("short").container(gpumem=101).spec(activeDeadlineSeconds=600).build())
        self.assertIn("ResourceQuota default/short-lived", text)

    def test_an_amount_in_bytes_hands_out_nothing_and_says_what_to_write(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.api.call("POST", QUOTAS, quota("q", {MEMORY: "16Gi"}))
        time.sleep(0.5)
        self.assertIn("did you mean 16384?", self.refuse(Pod("p").container(gpumem=1).build()))

    def test_a_restarted_scheduler_counts_what_is_bound(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.create(quota("q", {MEMORY: "3000"}))
        self.bind(Pod("holder").container(gpumem=2500).build())
        self.partage.kill()
        self.partage.start()
        self.partage.wait()
        self.refuse(Pod("p").container(gpumem=501).build())
        self.bind(Pod("small").container(gpumem=500).build())


if __name__ == "__main__":
    main()
