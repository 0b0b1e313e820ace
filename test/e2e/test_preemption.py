#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A pod of higher priority gets the share of pods of lower priority: the fewest, the least important, none that a PodDisruptionBudget protects."""

import time

from harness.api import BUDGETS, MERGE_PATCH, PODS, Object
from harness.objects import Node, Pod
from harness.process import eventually
from harness.scenario import Scenario, main

PRIORITY_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
CLASSES = {"batch": 10, "normal": 100, "urgent": 1000}


class Preemption(Scenario):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        classes = [(name, value, "PreemptLowerPriority") for name, value in CLASSES.items()] + [("patient", 5000, "Never")]
        for name, value, policy in classes:
            body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value, "preemptionPolicy": policy}
            cls.api.call("POST", PRIORITY_CLASSES, body)

    def tearDown(self) -> None:
        self.api.call("DELETE", BUDGETS)
        super().tearDown()

    def pod(self, name: str, priority: str, **quantities: int) -> Object:
        pod = Pod(name).container(**quantities).spec(priorityClassName=priority).build()
        pod["metadata"]["labels"] = {"app": name.split("-")[0]}
        return pod

    def run_pods(self, *pods: Object) -> None:
        """Binds them, and says they run, as a kubelet would: budgets protect no others."""
        self.bind(*pods)
        ready = [{"type": "Ready", "status": "True"}]
        for pod in pods:
            path = f"{PODS}/{pod['metadata']['name']}/status"
            self.api.call("PATCH", path, {"status": {"phase": "Running", "conditions": ready}}, MERGE_PATCH)

    def names(self) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.api.pods()}

    def two_full_cards(self) -> None:
        self.nodes(Node("n").gpus(2).build())
        self.run_pods(self.pod("whole", "normal", gpu=1, gpumem=24000), self.pod("half-a", "batch", gpu=1, gpumem=12000), self.pod("half-b", "batch", gpu=1, gpumem=12000))

    def test_the_fewest_and_least_important_make_room(self) -> None:
        self.two_full_cards()
        self.bind(self.pod("urgent", "urgent", gpu=1, gpumem=10000))
        self.assertEqual(len(self.names() & {"half-a", "half-b"}), 1)
        self.assertIn("whole", self.names())
        self.assert_ledger_is_true()
        self.assertGreaterEqual(self.partage.metric("partage_preemption_victims_total"), 1)

    def test_one_pod_rather_than_two(self) -> None:
        self.two_full_cards()
        self.bind(self.pod("urgent", "urgent", gpu=1, gpumem=24000))
        self.assertEqual(self.names(), {"half-a", "half-b", "urgent"})

    def test_a_set_of_cards(self) -> None:
        self.two_full_cards()
        self.bind(self.pod("urgent", "urgent", gpu=2, gpumem=12000))
        self.assertEqual(len(self.names()), 2)

    def test_a_budget_is_kept_and_another_pod_chosen(self) -> None:
        self.two_full_cards()
        self.api.protect("half")
        self.bind(self.pod("urgent", "urgent", gpu=1, gpumem=10000))
        self.assertEqual(self.names(), {"half-a", "half-b", "urgent"})

    def test_nobody_dies_where_all_are_protected(self) -> None:
        self.two_full_cards()
        self.api.protect("half")
        self.api.protect("whole")
        self.refuse(self.pod("urgent", "urgent", gpu=1, gpumem=10000))
        refused = lambda: self.partage.metric("partage_preemption_attempts_total", outcome="protected") > 0  # noqa: E731
        eventually("the budgets have been asked", refused)
        time.sleep(1)
        self.assertEqual(self.names(), {"whole", "half-a", "half-b", "urgent"})

    def test_a_pod_that_never_preempts_waits(self) -> None:
        self.two_full_cards()
        self.refuse(self.pod("patient", "patient", gpu=1, gpumem=10000))
        time.sleep(2)
        self.assertEqual(self.names(), {"whole", "half-a", "half-b", "patient"})

    def test_equals_do_not_preempt_each_other(self) -> None:
        self.two_full_cards()
        self.refuse(self.pod("another", "batch", gpu=1, gpumem=10000))
        time.sleep(2)
        self.assertEqual(self.names(), {"whole", "half-a", "half-b", "another"})

    def test_what_comes_free_is_kept_for_the_preemptor(self) -> None:
        """The victim takes its time; others that ask meanwhile, before and after it is gone, do not get its share."""
        self.nodes(Node("n").gpus(1).build())
        victim = self.pod("victim", "batch", gpu=1, gpumem=24000)
        victim["spec"]["terminationGracePeriodSeconds"] = 600
        self.run_pods(victim)
        self.api.create_pods(self.pod("urgent", "urgent", gpu=1, gpumem=20000))
        eventually("the victim is asked to leave", lambda: "deletionTimestamp" in self.api.pod("victim")["metadata"])
        thieves = [self.pod(f"thief-{i}", "normal", gpu=1, gpumem=8000) for i in range(5)]
        self.api.create_pods(*thieves)
        time.sleep(2)
        self.api.delete_pods("victim")
        self.wait_bound({"urgent"}, timeout=10)
        time.sleep(1)
        self.assertEqual(self.unbound(), {f"thief-{i}" for i in range(5)})

    def test_a_crowd_of_preemptors_evicts_no_more_than_they_need(self) -> None:
        self.nodes(Node("n").gpus(4).build())
        self.run_pods(*[self.pod(f"low-{i}", "batch", gpu=1, gpumem=12000) for i in range(8)])
        self.bind_together(*[self.pod(f"urgent-{i}", "urgent", gpu=1, gpumem=12000) for i in range(5)])
        self.assertEqual(len([name for name in self.names() if name.startswith("low-")]), 3)
        self.assert_ledger_is_true()

    def messages(self, pod: str, reason: str) -> list[str]:
        """Also of a pod that is gone."""
        events = self.api.call("GET", f"/api/v1/namespaces/default/events?fieldSelector=involvedObject.name={pod},reason={reason}")["items"]
        return [event["message"] for event in events if event["reportingComponent"] == "partage-scheduler"]

    def test_both_sides_are_told(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.run_pods(self.pod("told-victim", "batch", gpu=1, gpumem=24000))
        self.bind(self.pod("told-urgent", "urgent", gpu=1, gpumem=20000))
        preempted = eventually("the victim's event", lambda: self.messages("told-victim", "Preempted"))
        self.assertEqual(preempted, ["Preempted by pod default/told-urgent on node n"])
        self.assertEqual(len(eventually("the preemptor's event", lambda: self.messages("told-urgent", "Preempting"))), 1)  # type: ignore[arg-type]

    def test_kube_scheduler_preempts_only_where_the_gpu_is_free_too(self) -> None:
        """CPU is short on both nodes. kube-scheduler alone would take the less important victim, on the node whose GPU is taken."""
        nodes = [Node(name).gpus(1).build() for name in ("a", "b")]
        for node in nodes:
            node["status"]["allocatable"] = node["status"]["capacity"] = {"cpu": "4", "memory": "100Ti", "pods": "100"}
        self.nodes(*nodes)
        boss = self.pod("boss", "urgent", gpu=1, gpumem=24000)
        boss["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "a"}
        self.run_pods(boss)
        for node, priority in (("a", "batch"), ("b", "normal")):
            hog = self.pod(f"hog-{node}", priority)
            hog["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
            hog["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "3"}}
            self.run_pods(hog)
        urgent = self.pod("urgent", "urgent", gpu=1, gpumem=10000)
        urgent["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "2"}
        self.bind(urgent)
        self.assertEqual(self.names(), {"boss", "hog-a", "urgent"})


if __name__ == "__main__":
    main()
