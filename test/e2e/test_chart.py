#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The chart, installed by helm into a real API server: its schedulers bind with the identity, configuration, certificates and roles it renders, and its policies hold."""

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from harness.api import BUDGETS, MERGE_PATCH, PODS, ApiError, Object
from harness.chart import CHART, RBAC, Grant, Helm, Installed
from harness.control_plane import NAMESPACE, ROOT, SERVICE_ACCOUNT, program
from harness.objects import ALLOCATION, HAMI_ALLOCATED, Node, Pod, shares
from harness.process import eventually, free_port
from harness.scenario import Scenario, main
from harness.webhook import CONFIGURATIONS as WEBHOOKS
from harness.webhook import in_force

WRONG = Pod("wrong").container(gpu=1, gpumem="16Gi").build()
GUARDED = {ALLOCATION: "{}", HAMI_ALLOCATED: ";", "hami.io/vgpu-node": "n1", "partage.dev/of-tomorrow": "x"}
ASKED = {"partage.dev/use-gputype": "L4", "hami.io/gpu-scheduler-policy": "binpack", "nvidia.com/numa-bind": "true", "example.com/x": "y"}


class Installation(Scenario):
    """The chart installed with `values`; partage-scheduler and kube-scheduler run as its pods would, but for addresses and the folders of mounted files."""

    audit = True
    watch_list = False  # as servers before 1.34 are: then partage-scheduler lists, too
    values: ClassVar[Object] = {}
    helm: ClassVar[Helm]
    installed: ClassVar[Installed]

    @classmethod
    def start_schedulers(cls) -> None:
        folder = cls.control_plane.folder
        cls.helm = Helm(folder, cls.control_plane.kubeconfig("admin", token="admin-token"))
        cls.webhook_port = free_port()
        cls.helm.upgrade(values=cls.values | {"webhook": {"port": cls.webhook_port}})
        cls.installed = Installed(cls.api)
        cls.installed.lead_service_to("webhook")
        cls.authority = cls.installed.write_secret("ca", folder / "authority")
        cls.account = cls.control_plane.kubeconfig("account", token="service-account-token")
        cls.partage = cls.control_plane.start_partage(*cls.arguments(folder), kubeconfig=cls.account)
        cls.kube_scheduler = cls.control_plane.start_configured_kube_scheduler("rendered", cls.kube_scheduler_config(folder))
        eventually("the API server asks the webhook", lambda: in_force(cls.api, WRONG))

    @classmethod
    def arguments(cls, folder: Path) -> list[str]:
        """The rendered configuration, with this machine's addresses and files."""
        config = folder / "config.yaml"
        config.write_text(cls.installed.config_map()["config.yaml"])
        files = ["--webhook-tls-cert-file", str(cls.authority / "tls.crt"), "--webhook-tls-key-file", str(cls.authority / "tls.key")]
        return ["--config", str(config), "--webhook-listen", f"127.0.0.1:{cls.webhook_port}", *files]

    @classmethod
    def kube_scheduler_config(cls, folder: Path) -> str:
        raise NotImplementedError

    # --- What was asked of the API server ---

    def requests(self, agent: str) -> list[Object]:
        """Audited requests of the service account by the program whose User-Agent begins with `agent`."""
        assert self.control_plane.audit_log is not None
        events = [json.loads(line) for line in self.control_plane.audit_log.read_text().splitlines() if line.endswith("}")]
        return [event for event in events if event["user"]["username"] == SERVICE_ACCOUNT and event.get("userAgent", "").startswith(agent)]

    def unused_and_missing(self) -> tuple[set[Grant], set[str]]:
        """Grants that no request of partage-scheduler needed, and requests that none covers or that were refused."""
        grants = self.installed.grants()
        used: set[Grant] = set()
        missing = set()
        for event in self.requests("partage"):
            ref = event.get("objectRef", {})
            resource = "/".join(filter(None, (ref.get("resource"), ref.get("subresource"))))
            covering = {(resource, event["verb"], name) for name in (ref.get("name", ""), "*")} & grants
            used |= covering
            if not covering or event.get("responseStatus", {}).get("code") == 403:
                missing.add(f"{event['verb']} {event['requestURI']}")
        return grants - used, missing

    def use_every_verb(self) -> None:
        """Binds, has a waiting pod retried, and binds a pod that the API server refuses to bind, after which its pod is looked at, and evicts a pod
        for one of higher priority."""
        self.nodes(Node("n1").gpus(1).build())
        self.bind(Pod("holder").container(gpumem=20000).build())
        self.refuse(Pod("waiting").container(gpumem=5000).build())
        self.stop_kube_scheduler()  # or it may try again before it is told to
        self.api.delete_pods("holder")
        eventually("the node is patched", lambda: self.partage.metric("partage_requeue_patches_total") > 0)
        os.kill(self.kube_scheduler.pid, signal.SIGCONT)
        self.wait_bound({"waiting"})
        (gated,) = self.api.create_pods(Pod("gated").container(gpumem=1000).spec(schedulingGates=[{"name": "example.com/wait"}]).build())
        self.assertIn("409", self.ask_to_bind(gated, "n1"))
        self.preempt_after_a_while("waiting")

    def preempt_after_a_while(self, victim: str) -> None:
        """An urgent pod wants the share of a protected one; that is told and, some twenty seconds later, counted up. Then the budget goes."""
        self.api.call("PATCH", f"{PODS}/{victim}", {"metadata": {"labels": {"app": victim}}}, MERGE_PATCH)
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        self.api.call("PATCH", f"{PODS}/{victim}/status", {"status": ready}, MERGE_PATCH)
        self.api.protect(victim)
        urgent = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}, "value": 1000}
        self.api.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", urgent)
        self.api.create_pods(Pod("urgent").container(gpumem=24000).spec(priorityClassName="urgent").build())
        eventually("the event is counted up", lambda: "PATCH" in self.verbs_on_events(), timeout=90, every=1)
        self.api.call("DELETE", BUDGETS)
        self.wait_bound({"urgent"})

    def verbs_on_events(self) -> set[str]:
        return {event["verb"].upper() for event in self.requests("partage") if event.get("objectRef", {}).get("resource") == "events"}

    def stop_kube_scheduler(self) -> None:
        """Every thread of it, until SIGCONT."""
        os.kill(self.kube_scheduler.pid, signal.SIGSTOP)
        threads = Path(f"/proc/{self.kube_scheduler.pid}/task")
        eventually("its threads stand still", lambda: all(" T " in file.read_text() for file in threads.glob("*/stat")))

    def ask_to_bind(self, pod: Object, node: str) -> str:
        """The answer to a bind call for it."""
        metadata = pod["metadata"]
        connection = self.extender_connection()
        connection.request("POST", "/bind", json.dumps({"PodName": metadata["name"], "PodNamespace": metadata["namespace"], "PodUID": metadata["uid"], "Node": node}))
        answer = connection.getresponse().read().decode()
        connection.close()
        return answer

    def extender_connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.partage.url.removeprefix("http://"), timeout=10)

    def assert_roles_are_what_is_used(self) -> None:
        self.use_every_verb()
        with contextlib.suppress(AssertionError):  # the log is written a little later
            eventually("every grant was used", lambda: not self.unused_and_missing()[0], timeout=10, every=0.5)
        self.assertEqual((set(), set()), self.unused_and_missing())


class BesideAKubeScheduler(Installation):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        resources = ["pods", "pods/status", "pods/binding", "bindings", "pods/ephemeralcontainers", "pods/resize"]
        cls.control_plane.grant("tenant", [{"apiGroups": [""], "resources": resources, "verbs": ["get", "create", "update", "patch", "delete"]}])
        cls.tenant, cls.scheduler = cls.control_plane.api_of("tenant-token"), cls.control_plane.api_of("service-account-token")
        cls.addClassCleanup(cls.tenant.close)
        cls.addClassCleanup(cls.scheduler.close)
        eventually("the policies are in force", cls.policies_are_in_force)

    @classmethod
    def policies_are_in_force(cls) -> bool:
        try:
            cls.tenant.call("POST", f"{PODS}?dryRun=All", cls.forged("probe"))
        except ApiError as error:  # or the tenant's own role is not known yet
            return "ValidatingAdmissionPolicy" in error.body
        return False

    @classmethod
    def kube_scheduler_config(cls, folder: Path) -> str:
        rendered = cls.installed.config_map()["kube-scheduler.yaml"]
        assert "urlPrefix: http://127.0.0.1:8780\n" in rendered, rendered
        return rendered.replace("http://127.0.0.1:8780", cls.partage.url).replace("clientConnection:", f"clientConnection:\n  kubeconfig: {cls.account}")

    # --- Scheduling ---

    def test_pods_that_name_no_scheduler_go_through_the_webhook_to_the_charts_scheduler_and_are_bound(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(4).build() for index in range(3)))
        for pod in self.bind_together(*shares(30, gpumem=4000)):
            self.assertEqual("partage-scheduler", pod["spec"]["schedulerName"])
        self.assert_ledger_is_true()

    def test_the_roles_are_exactly_what_partage_scheduler_uses(self) -> None:
        self.assert_roles_are_what_is_used()

    def test_the_kube_scheduler_beside_it_is_refused_nothing(self) -> None:
        self.nodes(Node("n1").gpus(1).build())
        self.bind(Pod("p").container(gpumem=1000).build())
        requests = self.requests("kube-scheduler")
        self.assertIn("leases", {event["objectRef"]["resource"] for event in requests if event["verb"] == "update"})
        self.assertEqual([], [event["requestURI"] for event in requests if event.get("responseStatus", {}).get("code") == 403])

    # --- Webhook ---

    def test_without_the_webhook_only_pods_that_ask_for_devices_are_refused(self) -> None:
        asking = Pod("gpu").container(gpumem=1000)
        in_kube_system = "/api/v1/namespaces/kube-system/pods"
        self.partage.kill()
        with self.assertRaises(ApiError) as refused:
            self.api.create_pods(asking.build())
        self.assertEqual(500, refused.exception.status)
        opted_out = asking.build() | {"metadata": {"name": "opted-out", "labels": {"partage.dev/webhook": "ignore"}}}
        others_of_the_vendor = Pod("whole-slice").container(**{"mig-1g.10gb": 1}).build()
        self.api.create_pods(Pod("cpu").container().build(), opted_out, others_of_the_vendor)
        self.api.call("POST", in_kube_system, asking.build())
        self.api.call("DELETE", f"{in_kube_system}/gpu?gracePeriodSeconds=0")
        self.partage.start()
        self.partage.wait()
        self.api.create_pods(asking.build())

    def test_the_webhooks_certificate_is_of_the_schedulers_own_making_and_good_for_thirty_days(self) -> None:
        left = self.partage.metric("partage_tls_certificate_expiry_timestamp_seconds", listener="webhook") - time.time()
        self.assertLess(abs(left - 30 * 86400), 600)

    # --- Policies ---

    @staticmethod
    def forged(name: str, annotations: dict[str, str] | None = None) -> Object:
        return Pod(name).container().build() | {"metadata": {"name": name, "annotations": annotations or {ALLOCATION: "{}"}}}

    @staticmethod
    def refused(act: Callable[[], object]) -> str:
        """What the policy says, or "" when the act was allowed."""
        try:
            act()
        except ApiError as error:
            message = json.loads(error.body)["message"]
            assert error.status == 403 and "ValidatingAdmissionPolicy" in message, message
            return str(message)
        return ""

    def test_a_user_cannot_create_a_pod_with_what_only_the_scheduler_writes(self) -> None:
        for index, (key, value) in enumerate(GUARDED.items()):
            pod = self.forged(f"p{index}", {key: value})
            self.assertIn(f"only the scheduler writes {key} on a pod", self.refused(lambda pod=pod: self.tenant.create_pods(pod)))
        self.assertEqual([], self.api.pods())
        self.assertEqual("", self.refused(lambda: self.tenant.create_pods(self.forged("asks", ASKED))))

    def test_a_user_cannot_change_take_away_or_add_it_later_by_any_way_to_write_a_pod(self) -> None:
        self.nodes(Node("n1").gpus(1).build())
        (pod,) = self.bind(Pod("p").container(gpumem=1000).build())
        before = pod["metadata"]["annotations"]
        attempts = {ALLOCATION: (None, "{}"), HAMI_ALLOCATED: (";",), "partage.dev/of-tomorrow": ("x",)}
        for path in (f"{PODS}/p", f"{PODS}/p/status"):
            for key, values in attempts.items():
                for value in values:
                    self.assertIn(key, self.refused(lambda p=path, k=key, v=value: self.tenant.annotate(p, {k: v})))
        self.assertEqual(before, self.api.pod("p")["metadata"]["annotations"])
        self.assertEqual("", self.refused(lambda: self.tenant.annotate(f"{PODS}/p", ASKED)))
        self.assertEqual("", self.refused(lambda: self.tenant.call("PATCH", f"{PODS}/p", {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)))

    def test_a_binding_may_carry_it_when_it_is_the_schedulers_and_not_when_it_is_a_users(self) -> None:
        self.api.create_pods(*(Pod(name).container().spec(schedulerName="nobody").build() for name in ("a", "b", "c")))
        for path in (f"{PODS}/a/binding", "/api/v1/namespaces/default/bindings"):
            self.assertIn(ALLOCATION, self.refused(lambda p=path: self.tenant.call("POST", p, self.binding("a"))))
        self.assertEqual({}, self.api.pod("a")["metadata"].get("annotations", {}))
        self.assertEqual("", self.refused(lambda: self.tenant.call("POST", f"{PODS}/b/binding", self.binding("b") | {"metadata": {"name": "b"}})))
        self.assertEqual("", self.refused(lambda: self.scheduler.call("POST", f"{PODS}/c/binding", self.binding("c"))))
        self.assertEqual("{}", self.api.pod("c")["metadata"]["annotations"][ALLOCATION])
        self.api.delete_pods("c")

    @staticmethod
    def binding(pod: str) -> Object:
        target = {"apiVersion": "v1", "kind": "Node", "name": "elsewhere"}
        return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod, "annotations": {ALLOCATION: "{}"}}, "target": target}

    def test_a_user_cannot_put_a_pod_that_asks_for_devices_on_a_node_past_the_scheduler(self) -> None:
        past_webhook = {"labels": {"partage.dev/webhook": "ignore"}}
        pod = Pod("p").container(gpumem=1000).spec(nodeName="n1").build()
        pod["metadata"] |= past_webhook
        self.assertIn("kubernetes.io/hostname: n1", self.refused(lambda: self.tenant.create_pods(pod)))
        plain = Pod("plain").container().spec(nodeName="n1").build()
        self.assertEqual("", self.refused(lambda: self.tenant.create_pods(plain)))

    # --- Releases ---

    def test_an_upgrade_and_a_rollback_keep_the_authority_and_one_that_was_deleted_is_replaced_everywhere(self) -> None:
        off = {"enabled": False}
        values = {"shape": "behindService", "policies": {"allocations": off, "nodeNames": off}}
        release = Installed(self.api, "elsewhere", "second-partage")

        def certificates() -> list[bytes]:
            return [release.secret("ca")["tls.crt"], *release.secret("extender-client-tls").values()]

        self.helm.upgrade("second", "elsewhere", values)
        first = certificates()
        self.helm.upgrade("second", "elsewhere", values | {"replicas": 3})
        self.assertEqual(first, certificates())
        self.helm.do("rollback", "second", "1", "--namespace", "elsewhere")
        self.assertEqual(first, certificates())
        self.api.call("DELETE", "/api/v1/namespaces/elsewhere/secrets/second-partage-ca")
        self.helm.upgrade("second", "elsewhere", values)
        self.assertFalse(set(first) & set(certificates()))
        self.verify(release.secret("extender-client-tls"), release.secret("ca")["tls.crt"])
        (webhook,) = self.api.call("GET", f"{WEBHOOKS}/second-partage")["webhooks"]
        self.assertEqual(release.secret("ca")["tls.crt"], base64.b64decode(webhook["clientConfig"]["caBundle"]))
        self.helm.do("uninstall", "second", "--namespace", "elsewhere")
        for path in ("/api/v1/secrets", f"{RBAC}/clusterroles", WEBHOOKS):
            self.assertEqual([], [item["metadata"]["name"] for item in self.api.call("GET", path)["items"] if "second" in item["metadata"]["name"]])

    def verify(self, secret: dict[str, bytes], authority: bytes) -> None:
        folder = Path(tempfile.mkdtemp(dir=self.control_plane.folder))
        (folder / "ca.crt").write_bytes(authority)
        (folder / "tls.crt").write_bytes(secret["tls.crt"])
        subprocess.run(["openssl", "verify", "-CAfile", str(folder / "ca.crt"), str(folder / "tls.crt")], check=True, capture_output=True)


class BehindAService(Installation):
    values: ClassVar[Object] = {"shape": "behindService", "schedulerName": "default-scheduler", "config": {"nodePolicy": "spread"}}

    @classmethod
    def arguments(cls, folder: Path) -> list[str]:
        cls.client_files = cls.installed.write_secret("extender-client-tls", folder / "client")
        files = ["--tls-cert-file", str(cls.authority / "tls.crt"), "--tls-key-file", str(cls.authority / "tls.key")]
        return [*super().arguments(folder), *files, "--tls-client-ca-file", str(cls.authority / "tls.crt")]

    @classmethod
    def kube_scheduler_config(cls, folder: Path) -> str:
        """That of another kube-scheduler, with the stanza the chart has for it."""
        stanza = cls.installed.config_map("-extender")["extender.yaml"]
        prefix = f"https://partage-extender.{NAMESPACE}.svc:8780\n"
        assert f"urlPrefix: {prefix}" in stanza, stanza
        stanza = stanza.replace(prefix, cls.partage.url.replace("http://", "https://") + "\n").replace("/etc/kubernetes/partage", str(cls.client_files))
        other = cls.control_plane.kubeconfig("kube-scheduler", token="kube-scheduler-token")
        head = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration", "leaderElection": {"leaderElect": False}}
        head |= {"clientConnection": {"kubeconfig": str(other)}, "podMaxBackoffSeconds": 1}
        return "\n".join(f"{key}: {json.dumps(value)}" for key, value in head.items()) + "\n" + stanza

    def extender_connection(self) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=str(self.client_files / "ca.crt"))
        context.check_hostname = False
        context.load_cert_chain(str(self.client_files / "tls.crt"), str(self.client_files / "tls.key"))
        return http.client.HTTPSConnection(self.partage.url.removeprefix("http://"), timeout=10, context=context)

    def test_another_kube_scheduler_binds_through_the_extender_by_the_stanza_and_certificates_of_the_chart(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(4).build() for index in range(3)))
        bound = self.bind_together(*shares(30, gpumem=4000))
        self.assertEqual({"n0", "n1", "n2"}, {pod["spec"]["nodeName"] for pod in bound})
        self.assert_ledger_is_true()

    def test_the_roles_are_exactly_what_partage_scheduler_uses(self) -> None:
        self.assert_roles_are_what_is_used()


class Rendering(unittest.TestCase):
    helm: ClassVar[Helm]
    shapes: ClassVar[list[Object]] = [{}, {"shape": "behindService"}, {"webhook": {"enabled": False}}, {"certificates": {"source": "certManager"}}]

    @classmethod
    def setUpClass(cls) -> None:
        folder = Path(tempfile.mkdtemp(prefix="helm-", dir=ROOT / "build"))
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.helm = Helm(folder)

    def refusal(self, values: Object) -> str:
        result = self.helm.run("template", "partage", str(CHART), values=values)
        self.assertNotEqual(0, result.returncode, f"{values} was taken")
        return result.stderr

    def test_helm_finds_nothing_to_say_against_it(self) -> None:
        for values in self.shapes:
            self.assertIn("0 chart(s) failed", self.helm.do("lint", "--strict", str(CHART), values=values))

    def test_a_key_that_does_not_exist_is_refused_at_every_depth(self) -> None:
        wrong: list[Object] = [{"replica": 2}, {"config": {"bindWorker": 1}}, {"webhook": {"failurepolicy": "Fail"}}, {"policies": {"allocations": {"enable": True}}}]
        wrong += [{"kubeScheduler": {"image": {"tags": "v1"}}}, {"vendors": {"nvidia": {"resourceMemName": "x/y"}}}, {"metrics": {"serviceMonitor": {"enable": True}}}]
        for values in wrong:
            self.assertIn("additional properties", self.refusal(values))
        self.assertIn("vendors.nvida: no such vendor; there are nvidia", self.refusal({"vendors": {"nvida": {}}}))
        self.assertIn("shape", self.refusal({"shape": "aside"}))
        self.assertIn("caBundle", self.refusal({"certificates": {"source": "secret"}}))
        self.assertIn("behindService", self.refusal({"schedulerName": "default-scheduler"}))

    def test_every_object_of_the_schema_is_closed_or_a_map_whose_keys_are_the_users(self) -> None:
        def open_objects(schema: Object, path: str) -> list[str]:
            parts = schema.get("properties", {})
            here = [path] if "properties" in schema and schema.get("additionalProperties") is not False else []
            return here + [found for name, part in parts.items() for found in open_objects(part, f"{path}.{name}")]

        self.assertEqual([], open_objects(json.loads((CHART / "values.schema.json").read_text()), ""))

    def test_every_setting_of_the_scheduler_is_the_charts_or_can_be_given(self) -> None:
        documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE))
        properties = json.loads((CHART / "values.schema.json").read_text())["properties"]
        given = set(properties["config"]["properties"]) | set(properties["vendors"]["additionalProperties"]["properties"])
        rendered = "".join((CHART / f"templates/{name}").read_text() for name in ("configmap.yaml",))
        set_here = {name for name in documented - given if f'"{name}"' in rendered}
        not_of_the_chart = {"kubeSchedulerHost", "webhookTlsClientCaFile"}
        self.assertEqual(documented, given | set_here | not_of_the_chart)

    def test_the_scheduler_takes_the_rendered_configuration(self) -> None:
        folder = Path(tempfile.mkdtemp(dir=ROOT / "build"))
        self.addCleanup(shutil.rmtree, folder)
        settings = {"nodePolicy": "spread", "bindWorkers": 8, "metricsPodSeries": True, "bindDeadline": "6s"}
        for values in ({}, {"shape": "behindService"}):
            rendered = self.helm.template(values | {"config": settings, "vendors": {"nvidia": {"defaultMemory": 1000}}}, "--show-only", "templates/configmap.yaml")
            text = rendered.partition("config.yaml: |\n")[2].partition("  kube-scheduler.yaml")[0].partition("---")[0]
            (folder / "config.yaml").write_text(re.sub("^    ", "", text, flags=re.MULTILINE))
            command = [program("partage-scheduler", "PARTAGE_SCHEDULER"), "--check-config", "--config", str(folder / "config.yaml")]
            checked = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(0, checked.returncode, checked.stdout + checked.stderr)

    def test_a_resource_name_changed_or_taken_away_changes_in_every_place(self) -> None:
        rendered = self.helm.template({"vendors": {"nvidia": {"resourceMemoryName": "example.com/mib", "resourcePriorityName": ""}}})
        self.assertEqual(0, rendered.count("nvidia.com/gpumem'"))
        self.assertEqual(0, rendered.count("nvidia.com/priority"))
        self.assertIn("{name: example.com/mib, ignoredByScheduler: true}", rendered)
        self.assertIn("resourceMemoryName: example.com/mib", rendered)
        self.assertIn("name in ['nvidia.com/gpu','example.com/mib','nvidia.com/gpumem-percentage','nvidia.com/gpucores']", rendered)

    def test_the_kube_scheduler_is_of_the_clusters_version_without_what_a_distribution_adds(self) -> None:
        for version in ("v1.33.4", "v1.33.4-eks-0123456", "v1.33.4+k3s1", "v1.33.4-gke.1000"):
            self.assertIn("image: registry.k8s.io/kube-scheduler:v1.33.4\n", self.helm.template({}, "--kube-version", version))
        self.assertIn("kubeVersion", self.helm.run("template", "partage", str(CHART), "--kube-version", "v1.29.0").stderr)

    def test_cert_manager_makes_the_certificates_where_it_is_asked_to(self) -> None:
        rendered = self.helm.template({"shape": "behindService", "certificates": {"source": "certManager"}})
        self.assertNotIn("kind: Secret\n", rendered)
        self.assertIn(f"cert-manager.io/inject-ca-from: {NAMESPACE}/partage-webhook-tls", rendered)
        self.assertEqual(4, rendered.count("kind: Certificate\n"))
        issued = self.helm.template({"certificates": {"source": "certManager", "issuer": {"name": "house", "kind": "ClusterIssuer"}}})
        self.assertEqual((1, 0), (issued.count("kind: Certificate\n"), issued.count("kind: Issuer\n")))
        self.assertIn("name: house", issued)

    def test_users_may_write_what_the_protocol_lets_them_ask_with_and_nothing_else_of_ours(self) -> None:
        section = (ROOT / "docs/protocol.md").read_text().partition("## What users write on pods")[2].partition("| resource")[0]
        documented = {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`[^`/]+/([^`]+)`", row)}
        (allowed,) = re.findall(r"key\.substring\(12\) in \[(.*)\]", self.helm.template({}))
        self.assertEqual(documented, set(re.findall(r"'([^']+)'", allowed)))

    def test_a_budget_stands_only_where_more_than_one_replica_is_ready(self) -> None:
        self.assertIn("kind: PodDisruptionBudget", self.helm.template({}))
        self.assertNotIn("kind: PodDisruptionBudget", self.helm.template({"shape": "behindService"}))

    def test_every_container_is_confined(self) -> None:
        rendered = self.helm.template({})
        confined = r"allowPrivilegeEscalation: false\n\s+readOnlyRootFilesystem: true\n\s+runAsNonRoot: true\n\s+capabilities: \{drop: \[ALL\]\}"
        self.assertEqual(2, len(re.findall(confined, rendered)))


if __name__ == "__main__":
    main()
