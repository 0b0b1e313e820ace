#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One write a pod, counted by the API server itself; and nothing that the documented RBAC does not grant."""

import collections
import re

from harness.control_plane import PARTAGE_RULES
from harness.objects import Node, shares
from harness.scenario import Scenario, main

SAMPLE = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE"}


class Writes(Scenario):
    audit = True

    def server_counts(self) -> collections.Counter[str]:
        """The API server's own count of writes to pods and nodes: "VERB resource/subresource" → requests."""
        counts: collections.Counter[str] = collections.Counter()
        for labels, value in SAMPLE.findall(self.api.text("GET", "/metrics")):
            sample = dict(LABEL.findall(labels))
            if sample["verb"] in WRITES and sample["resource"] in ("pods", "nodes"):
                counts[f"{sample['verb']} {sample['resource']}/{sample['subresource']}".rstrip("/")] += int(float(value))
        return counts

    def audited(self) -> collections.Counter[tuple[str, str, str]]:
        """(user, verb, resource/subresource) → requests, of partage-scheduler and kube-scheduler."""
        refs = [(event["user"]["username"], event["verb"], event.get("objectRef", {})) for event in self.control_plane.audited()]
        return collections.Counter((user, verb, "/".join(filter(None, (ref.get("resource"), ref.get("subresource"))))) for user, verb, ref in refs)

    def test_one_write_a_pod(self) -> None:
        self.nodes(*(Node(f"n{index}").gpus(8).build() for index in range(5)))
        before = self.server_counts()
        self.bind_together(*shares(200, gpumem=2000))
        written = self.server_counts() - before
        self.assertEqual({"POST pods": 200, "POST pods/binding": 200}, dict(written))
        self.assertEqual(200, self.partage.metric("partage_binding_writes_total"))
        ours = {key[1:]: count for key, count in self.audited().items() if key[0] == "partage-scheduler" and key[1] not in ("get", "list", "watch")}
        self.assertEqual({("create", "pods/binding"): 200}, ours)

    def test_a_refused_pod_costs_us_no_write(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        before = self.audited()
        for pod in shares(5, gpu=2):
            self.refuse(pod)
        ours = {key[1:]: count for key, count in (self.audited() - before).items() if key[0] == "partage-scheduler" and key[1] not in ("list", "watch")}
        self.assertEqual({}, ours)

    def test_only_what_the_role_grants_is_asked_for(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.bind(*shares(3, gpumem=5000))
        asked = {(resource, verb) for user, verb, resource in self.audited() if user == "partage-scheduler"}
        granted = {(resource, verb) for rule in PARTAGE_RULES for resource in rule["resources"] for verb in rule["verbs"]}
        self.assertLessEqual(asked, granted)


if __name__ == "__main__":
    main()
