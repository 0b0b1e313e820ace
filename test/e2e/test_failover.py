#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two kube-schedulers and two partage-schedulers: whoever is killed, stopped or ended in the middle of a burst, the others take over and nothing is doubled."""

import os
import signal
import time
from typing import ClassVar

from harness import invariants
from harness.api import ApiError, Object
from harness.burst import Burst
from harness.control_plane import ControlPlane, Extender, Partage, http_ok, program
from harness.objects import Node, Pod
from harness.process import Process, eventually
from harness.scenario import Scenario, _work_folder, main
from harness.service import Kubelet, Service

KUBE_SCHEDULER_ELECTION = {"leaseDuration": "6s", "renewDeadline": "4s", "retryPeriod": "1s"}
PARTAGE_ELECTION = ["--lease-duration", "6s", "--renew-deadline", "4s", "--retry-period", "1s"]
HOSTS = ["left", "right"]
LEASE_RULES = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update"], "resourceNames": ["partage-scheduler"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"], "resourceNames": ["kube-scheduler"]},
]
GRACEFUL, OTHERWISE = 5.0, 20.0
PODS = int(os.environ.get("PARTAGE_E2E_BURST", "1000"))  # at least so many in each burst


class Replicas(Scenario):
    """The base of both shapes: everything is run twice."""

    shape: ClassVar[str]
    spares_the_stopped: ClassVar[bool]  # nobody kills a process that stands still; where nobody else could do its work, the kubelet must
    extenders: ClassVar[dict[str, Partage]]
    kube_schedulers: ClassVar[dict[str, Process]]
    kubelet: ClassVar[Kubelet]

    @classmethod
    def setUpClass(cls) -> None:
        program("partage-scheduler", "PARTAGE_SCHEDULER")
        folder = _work_folder() / cls.__name__
        folder.mkdir()
        cls.control_plane = ControlPlane(folder)
        cls.addClassCleanup(cls.control_plane.stop)
        cls.control_plane.start()
        cls.api = cls.control_plane.api
        cls._allow_leases()
        config = folder / "partage.yaml"
        config.write_text("bindDeadline: 2s\n")
        arguments = ["--config", str(config), "--leader-election", cls.shape, *PARTAGE_ELECTION]
        cls.extenders = {host: cls._replica(host, arguments) for host in HOSTS}
        for extender in cls.extenders.values():
            extender.start()
        for name, value in (("batch", 10), ("normal", 100), ("urgent", 1000)):
            body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
            cls.api.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", body)
        cls._start_kube_schedulers()
        cls._start_kubelet()

    @classmethod
    def _replica(cls, host: str, arguments: list[str]) -> Partage:
        return cls.control_plane.partage_replica(host, *arguments)

    @classmethod
    def _allow_leases(cls) -> None:
        group, namespace = "rbac.authorization.k8s.io", "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system"
        meta = {"apiVersion": f"{group}/v1", "metadata": {"name": "partage-scheduler"}}
        cls.api.call("POST", f"{namespace}/roles", meta | {"kind": "Role", "rules": LEASE_RULES})
        subject = {"apiGroup": group, "kind": "User", "name": "partage-scheduler"}
        role = {"apiGroup": group, "kind": "Role", "name": "partage-scheduler"}
        cls.api.call("POST", f"{namespace}/rolebindings", meta | {"kind": "RoleBinding", "roleRef": role, "subjects": [subject]})

    @classmethod
    def _start_kube_schedulers(cls) -> None:
        cls.kube_schedulers = {
            host: cls.control_plane.start_kube_scheduler_replica(Extender(cls.extender_url(host), timeout="3s"), host, KUBE_SCHEDULER_ELECTION) for host in HOSTS
        }

    @classmethod
    def _start_kubelet(cls) -> None:
        cls.kubelet = Kubelet()
        for extender in cls.extenders.values():
            cls.kubelet.watch(extender, lambda extender=extender: http_ok(f"{extender.metrics_url}/healthz"))
        for kube_scheduler in cls.kube_schedulers.values():
            cls.kubelet.watch(kube_scheduler)
        cls.kubelet.start()
        cls.addClassCleanup(cls.kubelet.stop)

    @classmethod
    def extender_url(cls, host: str) -> str:
        return cls.extenders[host].url

    @property
    def partage(self) -> Partage:  # type: ignore[override]
        """The active one."""
        return self.extenders[self.active_host()]

    def active_hosts(self) -> list[str]:
        return [host for host, extender in self.extenders.items() if extender.metric("partage_active") == 1]

    def active_host(self) -> str:
        return eventually("one replica is active", lambda: len(hosts := self.active_hosts()) == 1 and hosts[0])  # type: ignore[return-value]

    def holder(self) -> str:
        """Which kube-scheduler leads: its identity, HOST_UUID; "" when none does."""
        try:
            lease = self.api.call("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler")
        except ApiError:
            return ""
        return lease["spec"].get("holderIdentity") or ""

    def bound(self) -> int:
        return len(self.api.pods("spec.nodeName!="))

    # --- The one story ---

    def survive(self, how: signal.Signals, *victims: Process, limit: float) -> None:
        """In the middle of a burst the victims get the signal; the rest of the burst is bound all the same, and in time."""
        burst = Burst(self.api, least=PODS)
        burst.start()
        try:
            eventually("the burst is under way", lambda: self.bound() >= PODS // 3, timeout=90, every=0.1)
            seconds, who = self.hit(how, victims, limit)
        finally:
            created = burst.finish()
        names = " and ".join(victim.name for victim in victims)
        print(f"\n  {self.shape}: {how.name} of {names}: {who} binds again after {seconds:.1f} s, {len(created)} pods", end=" ", flush=True)
        self.wait_bound(created, timeout=90)
        self.assertEqual([], invariants.violations(self.api))
        self.assert_ledger_is_true()
        self.assertLess(seconds, limit)

    def hit(self, how: signal.Signals, victims: tuple[Process, ...], limit: float) -> tuple[float, str]:
        """Seconds until somebody else bound again, and who. Whoever stood still goes on then."""
        if how == signal.SIGSTOP and self.spares_the_stopped:
            self.kubelet.leave_alone(*victims)
        start = time.monotonic()
        for victim in victims:
            os.kill(victim.pid, how)
        try:
            who = self.take_over(victims, timeout=limit + 20)
            return time.monotonic() - start, who
        finally:
            for victim in victims:
                if how == signal.SIGSTOP and victim.running:
                    os.kill(victim.pid, signal.SIGCONT)
            self.kubelet.care_for(*victims)

    def take_over(self, victims: tuple[Process, ...], timeout: float) -> str:
        """Waits until pods are bound by processes of which none was hit, or that were started since; who did it."""
        pids, written = {extender.name: extender.pid for extender in victims if isinstance(extender, Partage)}, self.writes(victims)
        if any(not isinstance(victim, Partage) for victim in victims):
            eventually("another kube-scheduler leads", lambda: self.holder() not in ("", self.holder_before), timeout)
            written = self.writes(victims)

        def who() -> str:
            for extender in self.extenders.values():
                fresh = extender.pid != pids.get(extender.name, 0)
                if fresh and extender.metric("partage_binding_writes_total", outcome="written") > written.get(extender.name, 0):
                    return extender.name
            return ""

        return eventually("somebody binds again", who, timeout)  # type: ignore[return-value]

    def writes(self, victims: tuple[Process, ...]) -> dict[str, float]:
        """Of the others: a process that stands still would answer nothing."""
        others = [extender for extender in self.extenders.values() if extender not in victims]
        return {extender.name: extender.metric("partage_binding_writes_total", outcome="written") for extender in others}

    def setUp(self) -> None:
        for process in (*self.extenders.values(), *self.kube_schedulers.values()):
            eventually(f"{process.name} runs", lambda process=process: process.running)
        for extender in self.extenders.values():
            eventually(f"{extender.name} answers", lambda extender=extender: http_ok(f"{extender.metrics_url}/healthz"))
        self.holder_before: str = eventually("a kube-scheduler leads", self.holder)  # type: ignore[assignment]
        self.leader = self.holder_before.partition("_")[0]
        self.active = self.active_host()
        self.nodes(*(Node(f"n{index}").gpus(8, slots=20).build() for index in range(16)))

    def tearDown(self) -> None:
        try:
            self.assertEqual([], invariants.violations(self.api))
            self.assertLessEqual(len(self.active_hosts()), 1)
        finally:
            self.api.delete_everything()
            eventually("nothing is left of this test", lambda: all(self.is_empty(extender) for extender in self.extenders.values()), timeout=60)

    @staticmethod
    def is_empty(extender: Partage) -> bool:
        return http_ok(f"{extender.metrics_url}/healthz") and extender.state("?pods=false")["nodes"] == []

    # --- What happens to whom ---

    def extender(self) -> Process:
        return self.extenders[self.active]

    def kube_scheduler(self) -> Process:
        return self.kube_schedulers[self.leader]


class Stories:
    """Each is one test of both shapes."""

    def test_the_extender_is_killed(self) -> None:
        self.survive(signal.SIGKILL, self.extender(), limit=OTHERWISE)

    def test_the_extender_stands_still(self) -> None:
        self.survive(signal.SIGSTOP, self.extender(), limit=OTHERWISE)

    def test_the_extender_is_ended(self) -> None:
        self.survive(signal.SIGTERM, self.extender(), limit=GRACEFUL)

    def test_the_kube_scheduler_is_killed(self) -> None:
        self.survive(signal.SIGKILL, self.kube_scheduler(), limit=OTHERWISE)

    def test_the_kube_scheduler_stands_still(self) -> None:
        self.survive(signal.SIGSTOP, self.kube_scheduler(), limit=OTHERWISE)

    def test_the_kube_scheduler_is_ended(self) -> None:
        self.survive(signal.SIGTERM, self.kube_scheduler(), limit=GRACEFUL)

    def test_both_are_killed(self) -> None:
        self.survive(signal.SIGKILL, self.extender(), self.kube_scheduler(), limit=OTHERWISE)

    def test_both_stand_still(self) -> None:
        self.survive(signal.SIGSTOP, self.extender(), self.kube_scheduler(), limit=OTHERWISE)

    def test_both_are_ended(self) -> None:
        self.survive(signal.SIGTERM, self.extender(), self.kube_scheduler(), limit=GRACEFUL)


    def test_what_comes_free_by_preemption_is_kept_across_a_fail_over(self) -> None:
        """The active replica dies while a victim is leaving. The next one evicts nobody else, and nobody else gets the room."""
        victims = [self.of_priority("batch", f"victim-{i}", 24000, terminationGracePeriodSeconds=600) for i in range(2)]
        self.api.create_nodes(Node("small").gpus(2).build())
        self.api.create_pods(*victims)
        self.wait_bound({"victim-0", "victim-1"})
        self.api.create_pods(self.of_priority("urgent", "urgent", 20000))
        (leaving,) = eventually("a victim is asked to leave", self.leaving)  # type: ignore[misc]
        os.kill(self.extender().pid, signal.SIGKILL)
        eventually("it has ended", lambda: not self.active_hosts())
        self.active_host()
        eventually("the claim is there again", lambda: "claimed" in self.states_on_small())
        time.sleep(2)
        self.assertEqual([leaving], self.leaving())
        # While kube-scheduler looks at the thieves, the preemptor may still be waiting for its next turn.
        self.api.create_pods(*(self.of_priority("batch", f"thief-{i}", 8000) for i in range(5)))
        self.api.delete_pods(leaving)
        self.wait_bound({"urgent"}, timeout=20)
        time.sleep(1)
        self.assertEqual({f"thief-{i}" for i in range(5)}, self.unbound())
        self.assertEqual([], self.leaving())
        self.assert_ledger_is_true()

    def of_priority(self, priority: str, name: str, mib: int, **spec: object) -> Object:
        """A pod that may only go to the node `small`."""
        return Pod(name).container(gpu=1, gpumem=mib).spec(priorityClassName=priority, nodeSelector={"kubernetes.io/hostname": "small"}, **spec).build()

    def leaving(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.api.pods() if "deletionTimestamp" in pod["metadata"]]

    def states_on_small(self) -> list[str]:
        (node,) = (node for node in self.partage.state()["nodes"] if node["name"] == "small")
        return [pod["state"] for pod in node["pods"]]


class Follow(Stories, Replicas):
    """Each partage-scheduler beside its kube-scheduler."""

    shape = "follow"
    spares_the_stopped = False

    def test_the_active_replica_is_the_one_beside_the_kube_scheduler_that_leads(self) -> None:
        self.assertEqual(self.leader, self.active)
        self.assertTrue(all(http_ok(f"{extender.metrics_url}/readyz") for extender in self.extenders.values()))


class Elect(Stories, Replicas):
    """Both kube-schedulers talk to one Service."""

    shape = "elect"
    spares_the_stopped = True
    service: ClassVar[Service]

    @classmethod
    def _start_kube_schedulers(cls) -> None:
        cls.service = Service(list(cls.extenders.values()))
        cls.service.start()
        cls.addClassCleanup(cls.service.stop)
        super()._start_kube_schedulers()

    @classmethod
    def extender_url(cls, host: str) -> str:
        return cls.service.url

    def test_only_the_active_replica_is_ready(self) -> None:
        ready = [host for host, extender in self.extenders.items() if http_ok(f"{extender.metrics_url}/readyz")]
        self.assertEqual([self.active], ready)


if __name__ == "__main__":
    main()
