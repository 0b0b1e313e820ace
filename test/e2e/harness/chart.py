# SPDX-License-Identifier: Apache-2.0
"""The chart as a user meets it: through helm, against no cluster or a control plane. What was installed is read back from the API server."""

import base64
import json
import os
import subprocess
from pathlib import Path

from .api import Api, Object
from .control_plane import NAMESPACE, ROOT, SERVICE_ACCOUNT

CHART = ROOT / "charts/partage"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
Grant = tuple[str, str, str]  # resource/subresource, verb, name of the object or "*"


class Helm:
    """Keeps its own files in `folder`."""

    def __init__(self, folder: Path, kubeconfig: Path | None = None) -> None:
        script = ROOT / "test/e2e/control-plane/build.sh"
        self._program = subprocess.run([str(script), "--helm"], check=True, capture_output=True, text=True).stdout.strip()
        kinds = {f"HELM_{kind}_HOME": str(folder / f"helm-{kind.lower()}") for kind in ("CACHE", "CONFIG", "DATA")}
        self._environment = os.environ | kinds | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})

    def run(self, *arguments: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
        """`values` become a values file of their own, given last."""
        more = ["--values", "-"] if values is not None else []
        command = [self._program, *arguments, *more]
        return subprocess.run(command, input=json.dumps(values or {}), env=self._environment, capture_output=True, text=True, timeout=120)

    def do(self, *arguments: str, values: Object | None = None) -> str:
        result = self.run(*arguments, values=values)
        assert result.returncode == 0, f"helm {' '.join(arguments)}: {result.stderr}{result.stdout}"
        return result.stdout

    def template(self, values: Object | None = None, *arguments: str) -> str:
        return self.do("template", "partage", str(CHART), "--namespace", NAMESPACE, *arguments, values=values or {})

    def upgrade(self, release: str = "partage", namespace: str = NAMESPACE, values: Object | None = None) -> str:
        """Installs or upgrades."""
        return self.do("upgrade", "--install", release, str(CHART), "--namespace", namespace, "--create-namespace", values=values or {})


class Installed:
    """What release "partage" is in the cluster."""

    def __init__(self, api: Api, namespace: str = NAMESPACE, name: str = "partage") -> None:
        self._api = api
        self._core = f"/api/v1/namespaces/{namespace}"
        self._roles = [(f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings"), (f"{RBAC}/namespaces/{namespace}/roles", f"{RBAC}/namespaces/{namespace}/rolebindings")]
        self.name = name

    def config_map(self, suffix: str = "") -> dict[str, str]:
        return self._api.call("GET", f"{self._core}/configmaps/{self.name}{suffix}")["data"]

    def secret(self, suffix: str) -> dict[str, bytes]:
        data = self._api.call("GET", f"{self._core}/secrets/{self.name}-{suffix}")["data"]
        return {key: base64.b64decode(value) for key, value in data.items()}

    def write_secret(self, suffix: str, folder: Path) -> Path:
        """The folder in which a pod would have it mounted."""
        folder.mkdir()
        for key, value in self.secret(suffix).items():
            (folder / key).write_bytes(value)
        return folder

    def lead_service_to(self, suffix: str) -> None:
        """Nobody serves cluster addresses here: the Service's name, which the certificate is for, comes to mean this machine, at the Service's port."""
        change = {"spec": {"type": "ExternalName", "externalName": "localhost", "clusterIP": None, "clusterIPs": None}}
        self._api.call("PATCH", f"{self._core}/services/{self.name}-{suffix}", change, "application/merge-patch+json")

    def grants(self) -> set[Grant]:
        """All that the chart's own roles for partage-scheduler allow: what is bound to its account, without Kubernetes' roles and those of the kube-scheduler beside it."""
        user = SERVICE_ACCOUNT.rpartition(":")[2]
        found: set[Grant] = set()
        for roles, bindings in self._roles:
            for binding in self._api.call("GET", bindings)["items"]:
                role, subjects = binding["roleRef"]["name"], binding.get("subjects", [])
                if role == f"{self.name}-scheduler" and any(subject["kind"] == "ServiceAccount" and subject["name"] == user for subject in subjects):
                    found |= {grant for rule in self._api.call("GET", f"{roles}/{role}")["rules"] for grant in _grants(rule)}
        return found


def _grants(rule: Object) -> set[Grant]:
    return {(resource, verb, name) for resource in rule["resources"] for verb in rule["verbs"] for name in rule.get("resourceNames", ["*"])}
