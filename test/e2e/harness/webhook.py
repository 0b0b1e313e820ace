# SPDX-License-Identifier: Apache-2.0
"""partage-scheduler's admission webhook as the API server is told of it: certificate, listener, MutatingWebhookConfiguration."""

import base64
from pathlib import Path

from .api import Api, ApiError, Object
from .pki import Pki
from .process import free_port

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
NAME = "pods.partage.dev"

# CEL: some container, init containers among them, names a resource of ours in its limits or requests.
ASKS_US = """
(object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])).exists(c,
  has(c.resources) && (
    (has(c.resources.limits) && c.resources.limits.exists(name, name.startsWith('nvidia.com/'))) ||
    (has(c.resources.requests) && c.resources.requests.exists(name, name.startsWith('nvidia.com/')))))
"""


class Webhook:
    """Keys and an address in `folder`, before partage-scheduler starts; then register()."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._pki = Pki(folder / "webhook-pki")
        self.certificate, self.key = folder / "webhook.crt", folder / "webhook.key"
        self.renew()

    @property
    def arguments(self) -> list[str]:
        """For partage-scheduler."""
        return ["--webhook-listen", self.address, "--webhook-tls-cert-file", str(self.certificate), "--webhook-tls-key-file", str(self.key)]

    def renew(self) -> None:
        """Another certificate by the same authority, in the same files."""
        self._pki.issue("webhook", "/CN=partage webhook", "subjectAltName=IP:127.0.0.1")
        for target, name in ((self.certificate, "webhook.crt"), (self.key, "webhook.key")):
            target.write_bytes(Path(self._pki.path(name)).read_bytes())

    def register(self, api: Api) -> None:
        """Every creation of a pod that asks for our resources goes through the webhook; when it cannot be reached, such a pod is refused."""
        authority = base64.b64encode(Path(self._pki.path("ca.crt")).read_bytes()).decode()
        webhook: Object = {
            "name": NAME,
            "clientConfig": {"url": f"https://{self.address}/mutate", "caBundle": authority},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "Namespaced"}],
            "matchConditions": [{"name": "asks-for-our-devices", "expression": ASKS_US}],
            "objectSelector": {"matchExpressions": [{"key": "partage.dev/webhook", "operator": "NotIn", "values": ["ignore"]}]},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "timeoutSeconds": 5,
            "admissionReviewVersions": ["v1"],
        }
        body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": "partage"}, "webhooks": [webhook]}
        api.call("POST", CONFIGURATIONS, body)


def in_force(api: Api, probe: Object) -> bool:
    """True once the API server, which learns of configurations a little later, sends pods through the webhook: `probe`, which it refuses, is not taken."""
    try:
        api.call("POST", "/api/v1/namespaces/default/pods?dryRun=All", probe)
    except ApiError as error:
        return NAME in error.body
    return False
