#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The extender behind mutual TLS: kube-scheduler schedules through it, and nobody without its certificate binds."""

import http.client
import json
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.api import Object
from harness.control_plane import ROOT, Extender
from harness.objects import Node, Pod, shares
from harness.pki import Pki
from harness.scenario import Scenario, main


@dataclass
class TlsExtender(Extender):
    pki: Pki | None = None

    def stanza(self) -> Object:
        assert self.pki is not None
        files = {"caFile": self.pki.path("ca.crt"), "certFile": self.pki.path("client.crt"), "keyFile": self.pki.path("client.key")}
        return super().stanza() | {"enableHTTPS": True, "tlsConfig": files}


class MutualTls(Scenario):
    pki: ClassVar[Pki]
    strangers: ClassVar[Pki]

    @classmethod
    def setUpClass(cls) -> None:
        keys = tempfile.TemporaryDirectory(prefix="tls-", dir=ROOT / "build")
        cls.addClassCleanup(keys.cleanup)
        cls.pki, cls.strangers = Pki(Path(keys.name) / "pki"), Pki(Path(keys.name) / "strangers")
        for pki in (cls.pki, cls.strangers):
            pki.issue("client", "/CN=kube-scheduler")
        cls.partage_arguments = cls.pki.server_arguments()
        super().setUpClass()

    @classmethod
    def extender(cls) -> Extender:
        return TlsExtender(cls.partage.url.replace("http://", "https://"), pki=cls.pki)

    def status_of_bind(self, pki: Pki | None, pod: Object) -> int:
        """0 when the connection is refused."""
        context = ssl.create_default_context(cafile=self.pki.path("ca.crt"))
        if pki is not None:
            context.load_cert_chain(pki.path("client.crt"), pki.path("client.key"))
        host, _, port = self.partage.url.removeprefix("http://").partition(":")
        connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=10)
        metadata = pod["metadata"]
        body = {"PodName": metadata["name"], "PodNamespace": metadata["namespace"], "PodUID": metadata["uid"], "Node": "n1"}
        try:
            connection.request("POST", "/bind", json.dumps(body))
            return connection.getresponse().status
        except (ssl.SSLError, OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def test_kube_scheduler_schedules_through_mutual_tls(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(4).build() for index in range(4)))
        self.bind_together(*shares(40, gpumem=4000))
        self.assert_ledger_is_true()

    def test_nobody_binds_without_a_certificate_of_the_authority(self) -> None:
        self.nodes(Node("n1").gpus(1).build())
        (pod,) = self.api.create_pods(Pod("p").container(gpumem=1000).spec(schedulerName="nobody").build())
        self.assertEqual([0, 0], [self.status_of_bind(None, pod), self.status_of_bind(self.strangers, pod)])
        self.assertNotIn("nodeName", self.api.pod("p")["spec"])
        self.assertEqual(200, self.status_of_bind(self.pki, pod))
        self.assertEqual("n1", self.api.pod("p")["spec"]["nodeName"])


if __name__ == "__main__":
    main()
