# SPDX-License-Identifier: Apache-2.0
"""etcd, kube-apiserver, kube-scheduler and partage-scheduler as child processes on loopback."""

import http.client
import json
import os
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .api import Api, ApiError, Object
from .pki import Pki
from .process import Process, free_port

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]

# Where the chart is installed, and the identity its pods have there: token "service-account-token".
NAMESPACE = "partage-system"
SERVICE_ACCOUNT = f"system:serviceaccount:{NAMESPACE}:partage"
MANAGED_RESOURCES = ["nvidia.com/gpu", "nvidia.com/gpumem", "nvidia.com/gpumem-percentage", "nvidia.com/gpucores", "nvidia.com/priority"]

# All that partage-scheduler may do: what it is refused beyond this, it must not need.
PARTAGE_RULES: list[Object] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": [""], "resources": ["pods/binding", "pods/eviction"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]


def http_get(url: str, timeout: float = 10) -> str:
    """The body, whatever the status says; "" when nobody answers."""
    unverified = ssl._create_unverified_context() if url.startswith("https") else None
    try:
        with urllib.request.urlopen(url, timeout=timeout, context=unverified) as reply:
            return reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


def http_ok(url: str) -> bool:
    unverified = ssl._create_unverified_context() if url.startswith("https") else None
    try:
        with urllib.request.urlopen(url, timeout=2, context=unverified) as reply:
            return reply.status == 200
    except OSError:
        return False


def control_plane_programs() -> Path:
    script = ROOT / "test/e2e/control-plane/build.sh"
    return Path(subprocess.run([str(script), "--path"], check=True, capture_output=True, text=True).stdout.strip())


def program(name: str, variable: str) -> str:
    """The program the environment variable names, else the newest one built here, else the one in PATH."""
    built = sorted(ROOT.glob(f"build/*/bin/{name}"), key=lambda path: path.stat().st_mtime)
    found = os.environ.get(variable) or (str(built[-1]) if built else shutil.which(name))
    assert found and os.access(found, os.X_OK), f"no {name} at {found!r}: run ./run e2e, or name one with {variable}"
    return found


def on_host(host: str, command: list[str]) -> list[str]:
    """The command as if on a machine of that host name."""
    namespace = ["unshare", "--uts"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--uts"]
    return [*namespace, "sh", "-c", 'hostname "$0" && exec "$@"', host, *command]


@dataclass
class Extender:
    """The extender stanza of kube-scheduler's configuration."""

    url: str
    node_cache_capable: bool = True
    timeout: str = "10s"

    def stanza(self) -> Object:
        return {
            "urlPrefix": self.url,
            "filterVerb": "filter",
            "prioritizeVerb": "prioritize",
            "bindVerb": "bind",
            "preemptVerb": "preempt",
            "weight": 1,
            "nodeCacheCapable": self.node_cache_capable,
            "httpTimeout": self.timeout,
            "managedResources": [{"name": name, "ignoredByScheduler": True} for name in MANAGED_RESOURCES],
        }


class Partage(Process):
    """partage-scheduler. A later start listens on the same ports."""

    def __init__(self, folder: Path, kubeconfig: Path, arguments: list[str]) -> None:
        listen, metrics = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.url, self.metrics_url = f"http://{listen}", f"http://{metrics}"
        command = [program("partage-scheduler", "PARTAGE_SCHEDULER"), "--kubeconfig", str(kubeconfig), "--listen", listen, "--metrics-listen", metrics]
        super().__init__("partage-scheduler", command + arguments, folder / "partage-scheduler.log")

    def start(self) -> None:
        """Returns at once; see wait."""
        super().start()

    def wait(self) -> None:
        self.wait_ready(lambda: http_ok(f"{self.metrics_url}/readyz"))

    def metrics(self) -> dict[str, float]:
        """Every sample now: 'name{label="value"}' → value."""
        lines = [line for line in http_get(f"{self.metrics_url}/metrics").splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def metric(self, name: str, **labels: str) -> float:
        """Sum over the samples of that name which carry these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        samples = self.metrics().items()
        return sum(value for sample, value in samples if sample.partition("{")[0] == name and all(label in sample for label in wanted))

    def state(self, query: str = "") -> Object:
        body = http_get(f"{self.metrics_url}/debug/state{query}")
        assert body, f"{self.name} does not answer /debug/state; it {'runs' if self.running else 'has ended'}:\n{self.log_tail()}"
        return json.loads(body)


class ControlPlane:
    """A cluster without controllers and kubelets in `folder`. Start order: start(), then any number of partage and kube-scheduler processes."""

    def __init__(self, folder: Path, audit: bool = False, watch_list: bool = True) -> None:
        self.folder = folder
        self._watch_list = watch_list
        self.audit_log = folder / "audit.log" if audit else None
        self._programs = control_plane_programs()
        self._port = free_port()
        self._pki = Pki(folder / "pki")
        self._processes: list[Process] = []
        self.etcd: Process
        self.apiserver: Process
        self.api = self.api_of("admin-token")

    def start(self) -> None:
        etcd_url = f"http://127.0.0.1:{free_port()}"
        self.etcd = self._launch("etcd", self._etcd_flags(etcd_url))
        self.apiserver = self._launch("kube-apiserver", self._apiserver_flags(etcd_url))
        self.wait_apiserver()
        self.grant("partage-scheduler", PARTAGE_RULES)

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
        self.api.close()

    def wait_apiserver(self) -> None:
        """Returns when it serves, after a start or a time without etcd."""
        self.apiserver.wait_ready(self._apiserver_ready, timeout=60)

    def audited(self) -> list[Object]:
        """What partage-scheduler and kube-scheduler asked of the API server so far, as audit events; needs audit=True."""
        assert self.audit_log is not None
        return [json.loads(line) for line in self.audit_log.read_text().splitlines()]

    def logs(self) -> list[Path]:
        return sorted(self.folder.glob("*.log"))

    def api_of(self, token: str) -> Api:
        """The API with another identity: tenant-token, who may nothing but what a test grants, or service-account-token. Close it after use."""
        return Api(self._port, self._pki.path("ca.crt"), token)

    def grant(self, user: str, rules: list[Object]) -> None:
        """In every namespace."""
        group, role = "rbac.authorization.k8s.io", f"test-{user}"
        meta = {"apiVersion": f"{group}/v1", "metadata": {"name": role}}
        self.api.call("POST", f"/apis/{group}/v1/clusterroles", meta | {"kind": "ClusterRole", "rules": rules})
        binding = {"roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role}, "subjects": [{"apiGroup": group, "kind": "User", "name": user}]}
        self.api.call("POST", f"/apis/{group}/v1/clusterrolebindings", meta | {"kind": "ClusterRoleBinding"} | binding)

    # --- Schedulers ---

    def start_partage(self, *arguments: str, kubeconfig: Path | None = None) -> Partage:
        """With an identity of its own, which may do what PARTAGE_RULES say, or with the one of `kubeconfig`."""
        if kubeconfig is None:
            self._pki.issue("partage", "/CN=partage-scheduler/O=partage")
            kubeconfig = self.kubeconfig("partage", certificate="partage")
        partage = Partage(self.folder, kubeconfig, list(arguments))
        self._processes.append(partage)
        partage.start()
        partage.wait()
        return partage

    def start_kube_scheduler(self, extender: Extender | None, name: str = "default-scheduler") -> Process:
        """Another scheduler for the pods whose spec.schedulerName is `name`; without an extender it is kube-scheduler alone."""
        return self.start_configured_kube_scheduler(name, json.dumps(self._scheduler_config(name, extender), indent=1))

    def start_configured_kube_scheduler(self, name: str, config: str) -> Process:
        """One whose whole configuration is `config`, YAML or JSON; `name` is that of its files."""
        port = free_port()
        scheduler = self._launch("kube-scheduler", self._scheduler_flags(name, port, config), log_name=name)
        scheduler.wait_ready(lambda: http_ok(f"https://127.0.0.1:{port}/readyz"), timeout=60)
        return scheduler

    def start_kube_scheduler_replica(self, extender: Extender, host: str, election: Object) -> Process:
        """One of several for the pods of default-scheduler, as if it ran on the machine `host`. `election`: kube-scheduler's own settings of leader election."""
        name = f"kube-scheduler-{host}"
        config = self._scheduler_config("default-scheduler", extender) | {"leaderElection": {"leaderElect": True} | election}
        command = [str(self._programs / "kube-scheduler"), *self._scheduler_flags(name, free_port(), json.dumps(config, indent=1))]
        scheduler = Process(name, on_host(host, command), self.folder / f"{name}.log")
        self._processes.append(scheduler)
        scheduler.start()
        return scheduler

    def partage_replica(self, host: str, *arguments: str) -> Partage:
        """One of several, as if it ran on the machine `host`; not started yet."""
        self._pki.issue("partage", "/CN=partage-scheduler/O=partage")
        partage = Partage(self.folder, self.kubeconfig("partage", certificate="partage"), list(arguments))
        partage.name = f"partage-{host}"
        partage.log = self.folder / f"partage-{host}.log"
        partage.command = on_host(host, partage.command)
        self._processes.append(partage)
        return partage

    def kubeconfig(self, name: str, token: str = "", certificate: str = "") -> Path:
        user = f"token: {token}" if token else f"client-certificate: {self._pki.path(certificate)}.crt\n    client-key: {self._pki.path(certificate)}.key"
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n"
            f"clusters:\n- name: test\n  cluster:\n    server: https://127.0.0.1:{self._port}\n    certificate-authority: {self._pki.path('ca.crt')}\n"
            f"users:\n- name: {name}\n  user:\n    {user}\n"
            f"contexts:\n- name: test\n  context:\n    cluster: test\n    user: {name}\n"
        )
        return path

    # --- Parts ---

    def _scheduler_flags(self, name: str, port: int, config: str) -> list[str]:
        path = self.folder / f"{name}.config.yaml"
        path.write_text(config)
        flags = [f"--config={path}", f"--secure-port={port}", "--bind-address=127.0.0.1", f"--cert-dir={self.folder}/{name}-certificates"]
        return flags + ["--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics"]

    def _launch(self, name: str, flags: list[str], log_name: str = "") -> Process:
        process = Process(name, [str(self._programs / name), *flags], self.folder / f"{log_name or name}.log")
        self._processes.append(process)
        process.start()
        return process

    def _etcd_flags(self, url: str) -> list[str]:
        peer = f"http://127.0.0.1:{free_port()}"
        return [
            f"--data-dir={self.folder}/etcd", "--unsafe-no-fsync", "--log-level=warn", f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        ]  # fmt: skip

    def _apiserver_flags(self, etcd_url: str) -> list[str]:
        pki = self._pki
        tokens = self.folder / "tokens.csv"
        lines = ['admin-token,admin,admin,"system:masters"', "kube-scheduler-token,system:kube-scheduler,kube-scheduler", "tenant-token,tenant,tenant"]
        lines.append(f'service-account-token,{SERVICE_ACCOUNT},partage,"system:serviceaccounts,system:serviceaccounts:{NAMESPACE}"')
        tokens.write_text("\n".join(lines) + "\n")
        return [
            f"--etcd-servers={etcd_url}", "--bind-address=127.0.0.1", f"--secure-port={self._port}", "--advertise-address=127.0.0.1",
            f"--tls-cert-file={pki.path('server.crt')}", f"--tls-private-key-file={pki.path('server.key')}", f"--client-ca-file={pki.path('ca.crt')}",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={pki.path('sa.pub')}",
            f"--service-account-signing-key-file={pki.path('sa.key')}", "--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none",
            f"--token-auth-file={tokens}", "--authorization-mode=RBAC",
            # No controller gives pods their service account, none takes the not-ready taint off nodes.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            *self._audit_flags(), f"--feature-gates=WatchList={str(self._watch_list).lower()}",
        ]  # fmt: skip

    def _audit_flags(self) -> list[str]:
        if self.audit_log is None:
            return []
        policy = self.folder / "audit-policy.json"
        rules = [{"level": "Metadata", "users": ["partage-scheduler", "system:kube-scheduler", SERVICE_ACCOUNT]}, {"level": "None"}]
        policy.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}))
        return [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]

    def _apiserver_ready(self) -> bool:
        try:
            return self.api.text("GET", "/readyz") == "ok" and bool(self.api.call("GET", "/api/v1/namespaces/default"))
        except (OSError, http.client.HTTPException, ApiError):
            return False

    def _scheduler_config(self, name: str, extender: Extender | None) -> Object:
        return {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": False},
            "clientConnection": {"kubeconfig": str(self.kubeconfig(name, token="kube-scheduler-token")), "qps": 10000, "burst": 10000},
            "percentageOfNodesToScore": 100,
            "podInitialBackoffSeconds": 1,
            "podMaxBackoffSeconds": 1,
            "profiles": [{"schedulerName": name}],
            "extenders": [extender.stanza()] if extender else [],
        }
