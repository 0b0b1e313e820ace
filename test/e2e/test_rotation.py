#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Certificates of the extender and of the webhook renewed again and again in the middle of a burst: no call fails, and each pod is bound once."""

import ssl
import tempfile
from pathlib import Path
from typing import ClassVar

from harness.control_plane import ROOT, Extender
from harness.objects import Pod
from harness.outage import Outage
from harness.pki import Pki
from harness.process import eventually
from harness.scenario import main
from harness.webhook import Webhook, in_force
from test_tls import TlsExtender

ROUNDS = 5


class Rotation(Outage):
    pki: ClassVar[Pki]
    webhook: ClassVar[Webhook]

    @classmethod
    def setUpClass(cls) -> None:
        keys = tempfile.TemporaryDirectory(prefix="rotation-", dir=ROOT / "build")
        cls.addClassCleanup(keys.cleanup)
        cls.pki, cls.webhook = Pki(Path(keys.name) / "pki"), Webhook(Path(keys.name))
        cls.pki.issue("client", "/CN=kube-scheduler")
        cls.partage_arguments = [*cls.pki.server_arguments(), *cls.webhook.arguments]
        super().setUpClass()
        cls.webhook.register(cls.api)
        wrong = Pod("wrong").container(gpu=1, gpumem="16Gi").build()
        eventually("the API server asks the webhook", lambda: in_force(cls.api, wrong))

    @classmethod
    def extender(cls) -> Extender:
        return TlsExtender(cls.partage.url.replace("http://", "https://"), pki=cls.pki)

    def renew(self) -> None:
        before = [self.loads(listener) for listener in ("extender", "webhook")]
        self.pki.issue("server", "/CN=partage extender", "subjectAltName=IP:127.0.0.1")
        self.webhook.renew()
        eventually("both certificates are in use", lambda: all(self.loads(l) > count for l, count in zip(("extender", "webhook"), before)))

    def loads(self, listener: str) -> float:
        return self.partage.metric("partage_tls_certificate_loads_total", listener=listener, outcome="loaded")

    def served(self) -> str:
        host, _, port = self.webhook.address.partition(":")
        return ssl.get_server_certificate((host, int(port)))

    def test_certificates_renewed_in_a_burst(self) -> None:
        served = {self.served()}

        def again_and_again() -> None:
            for _ in range(ROUNDS):
                self.renew()
                served.add(self.served())
                self.wait_more_bound(20)

        retried = self.survive(again_and_again)
        self.assertEqual(1 + ROUNDS, len(served))
        self.assertEqual(0, retried, "creations that the webhook let fail")
        self.assertEqual([], self.failures(), "binds and filters that failed")

    def failures(self) -> list[str]:
        return [event["message"] for event in self.api.call("GET", "/api/v1/namespaces/default/events?fieldSelector=reason=FailedScheduling")["items"]]


if __name__ == "__main__":
    main()
