#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The admission webhook behind a real API server: what it mends, refuses and warns of, and what its absence stops."""

import ssl
import tempfile
from pathlib import Path
from typing import ClassVar

from harness.api import PODS, ApiError, Object
from harness.control_plane import ROOT, Extender
from harness.objects import Node, Pod, limits
from harness.process import eventually
from harness.scenario import Scenario, main
from harness.webhook import Webhook, in_force

SCHEDULER = "gpu-scheduler"
WRONG = Pod("wrong").container(gpu=1, gpumem="16Gi").build()


class Admission(Scenario):
    webhook: ClassVar[Webhook]

    @classmethod
    def setUpClass(cls) -> None:
        keys = tempfile.TemporaryDirectory(prefix="webhook-", dir=ROOT / "build")
        cls.addClassCleanup(keys.cleanup)
        cls.webhook = Webhook(Path(keys.name))
        cls.partage_arguments = [*cls.webhook.arguments, "--webhook-scheduler-name", SCHEDULER]
        super().setUpClass()
        cls.control_plane.start_kube_scheduler(Extender(cls.partage.url), name=SCHEDULER)
        cls.webhook.register(cls.api)
        eventually("the API server asks the webhook", lambda: in_force(cls.api, WRONG))

    def refusal(self, pod: Object) -> str:
        with self.assertRaises(ApiError) as refused:
            self.api.create_pods(pod)
        self.assertEqual(400, refused.exception.status, refused.exception.body)
        return refused.exception.body.replace('\\"', '"')

    def warnings(self, pod: Object) -> list[str]:
        return self.api.create_with_warnings(PODS, pod)[1]

    # --- What it mends ---

    def test_a_pod_that_asks_for_memory_alone_gets_a_device_and_our_scheduler_and_is_bound(self) -> None:
        self.nodes(Node("n1").gpus(1).build())
        (pod,) = self.bind(Pod("p").container(gpumem=3000).build())
        expected = limits(gpu=1, gpumem="3k")
        resources = pod["spec"]["containers"][0]["resources"]
        self.assertEqual((expected, expected), (resources["limits"], resources["requests"]))
        self.assertEqual(SCHEDULER, pod["spec"]["schedulerName"])

    def test_requests_without_limits_which_kubernetes_would_refuse_are_mended(self) -> None:
        self.nodes(Node("n1").gpus(1).build())
        pod = Pod("p").container().build()
        pod["spec"]["containers"][0]["resources"] = {"requests": limits(gpu=1, gpumem=2000)}
        (bound,) = self.bind(pod)
        self.assertEqual(limits(gpu=1, gpumem="2k"), bound["spec"]["containers"][0]["resources"]["limits"])

    def test_a_dry_run_is_answered_like_the_real_thing_and_leaves_nothing(self) -> None:
        pod = self.api.call("POST", f"{PODS}?dryRun=All", Pod("p").container(gpu=1).build())
        self.assertEqual(limits(gpu=1, gpucores=100), pod["spec"]["containers"][0]["resources"]["limits"])
        self.assertEqual([], self.api.pods())

    def test_pods_without_our_resources_and_pods_that_opt_out_stay_as_they_are(self) -> None:
        plain = Pod("plain").container().build()
        opted_out = Pod("opted-out").container(gpumem=1000).build()
        opted_out["metadata"]["labels"] = {"partage.dev/webhook": "ignore"}
        for pod in self.api.create_pods(plain, opted_out):
            self.assertEqual("default-scheduler", pod["spec"]["schedulerName"])
        self.assertEqual(limits(gpumem="1k"), self.api.pod("opted-out")["spec"]["containers"][0]["resources"]["limits"])

    # --- What it refuses and warns of ---

    def test_wrong_requests_are_refused_with_the_correction(self) -> None:
        self.assertIn('container main: nvidia.com/gpumem "16Gi" is not a number of MiB; did you mean 16384?', self.refusal(WRONG))
        self.assertIn("binpack, spread", self.refusal(Pod("p").container(gpumem=1).annotation("hami.io/node-scheduler-policy", "binpak").build()))
        self.assertIn("did you mean GPU-", self.refusal(self.pod_for("03f69c50-207a-2038-9b45-23cac89cb67d")))
        self.assertIn("nodeSelector", self.refusal(Pod("p").container(gpumem=1).spec(nodeName="n1").build()))
        self.assertEqual([], self.api.pods())

    @staticmethod
    def pod_for(uuid: str) -> Object:
        return Pod("p").container(gpumem=1000).annotation("nvidia.com/use-gpuuuid", uuid).build()

    def test_the_client_is_warned_of_what_the_cluster_does_not_have(self) -> None:
        self.nodes(Node("n1").gpus(2, memory=24000).build())
        self.assertEqual([], self.warnings(Pod("fits").container(gpumem=24000).build()))
        (too_large,) = self.warnings(Pod("too-large").container(gpumem=24001).build())
        self.assertIn("no GPU has 24001 MiB at all (largest is GPU 0 of n1: 24000 MiB)", too_large)
        nowhere = "GPU-00000000-0000-0000-0000-000000000000"
        self.assertIn(nowhere, self.warnings(self.pod_for(nowhere))[0])

    # --- What its absence stops ---

    def test_without_the_webhook_pods_that_ask_for_gpus_are_refused_clearly_and_others_are_not(self) -> None:
        self.partage.kill()
        with self.assertRaises(ApiError) as refused:
            self.api.create_pods(Pod("gpu").container(gpumem=1000).build())
        self.assertEqual(500, refused.exception.status)
        self.assertIn('failed calling webhook \\"pods.partage.dev\\"', refused.exception.body)
        self.api.create_nodes(Node("n1").gpus(1).build())
        self.api.create_pods(Pod("cpu").container().build())
        self.wait_bound({"cpu"})
        self.partage.start()
        self.partage.wait()
        self.api.create_pods(Pod("gpu").container(gpumem=1000).build())

    def test_certificates_renewed_under_traffic_fail_no_request_and_a_broken_one_changes_nothing(self) -> None:
        host, _, port = self.webhook.address.partition(":")
        served = {ssl.get_server_certificate((host, int(port)))}
        for round_ in range(3):
            before = self.loads("loaded")
            self.webhook.renew()
            self.api.create_pods(*[Pod(f"p-{round_}-{index}").container(gpumem=10).build() for index in range(100)])
            eventually("the new certificate is in use", lambda before=before: self.loads("loaded") > before)
            served.add(ssl.get_server_certificate((host, int(port))))
        self.assertEqual(4, len(served))
        self.webhook.certificate.write_text("half a certificate")
        eventually("the broken file is counted", lambda: self.loads("rejected") > 0)
        self.assertIn(ssl.get_server_certificate((host, int(port))), served)
        self.api.create_pods(Pod("after").container(gpumem=10).build())
        self.webhook.renew()

    def loads(self, outcome: str) -> float:
        return self.partage.metric("partage_tls_certificate_loads_total", listener="webhook", outcome=outcome)


if __name__ == "__main__":
    main()
