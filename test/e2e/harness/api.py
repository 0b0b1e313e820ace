# SPDX-License-Identifier: Apache-2.0
"""A small Kubernetes API client: JSON over a pool of kept-alive TLS connections. Thread-safe."""

import concurrent.futures
import http.client
import json
import queue
import ssl
from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]
PODS = "/api/v1/namespaces/default/pods"
NODES = "/api/v1/nodes"
MERGE_PATCH = "application/merge-patch+json"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


class ApiError(Exception):
    def __init__(self, status: int, what: str, body: str) -> None:
        super().__init__(f"{what}: {status} {body[:500]}")
        self.status = status
        self.body = body


class Api:
    def __init__(self, port: int, ca_file: str, token: str) -> None:
        self._port = port
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._idle: queue.LifoQueue[http.client.HTTPSConnection] = queue.LifoQueue()
        self._workers = concurrent.futures.ThreadPoolExecutor(max_workers=16)

    def text(self, method: str, path: str, body: Object | None = None, content_type: str = "application/json") -> str:
        """The reply's body. ApiError unless the status is 2xx."""
        payload = None if body is None else json.dumps(body).encode()
        headers = self._headers | {"Content-Type": content_type}
        try:
            status, answer = self._exchange(self._idle.get_nowait(), method, path, payload, headers)
        except (queue.Empty, OSError, http.client.RemoteDisconnected):  # none, or closed by the server while it was idle
            fresh = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._tls, timeout=60)
            status, answer = self._exchange(fresh, method, path, payload, headers)
        if status >= 300:
            raise ApiError(status, f"{method} {path}", answer)
        return answer

    def _exchange(self, connection: http.client.HTTPSConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str]:
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            answer = reply.read().decode()
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)
        return reply.status, answer

    def call(self, method: str, path: str, body: Object | None = None, content_type: str = "application/json") -> Object:
        return json.loads(self.text(method, path, body, content_type))

    def create_with_warnings(self, path: str, body: Object) -> tuple[Object, list[str]]:
        """The created object, and what the API server says beside it."""
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._tls, timeout=60)
        connection.request("POST", path, json.dumps(body), self._headers | {"Content-Type": "application/json"})
        reply = connection.getresponse()
        answer = reply.read().decode()
        connection.close()
        if reply.status >= 300:
            raise ApiError(reply.status, f"POST {path}", answer)
        warnings = reply.headers.get_all("Warning") or []
        return json.loads(answer), [text.partition('"')[2].rstrip('"').replace('\\"', '"') for text in warnings]

    def close(self) -> None:
        self._workers.shutdown()
        while not self._idle.empty():
            self._idle.get_nowait().close()

    # --- What scenarios do ---

    def create_all(self, path: str, objects: Iterable[Object]) -> list[Object]:
        """Creates them concurrently; the answers in the same order."""
        return list(self._workers.map(lambda body: self.call("POST", path, body), objects))

    def create_nodes(self, *nodes: Object) -> None:
        self.create_all(NODES, nodes)

    def create_pods(self, *pods: Object) -> list[Object]:
        return self.create_all(PODS, pods)

    def pod(self, name: str) -> Object:
        return self.call("GET", f"{PODS}/{name}")

    def node(self, name: str) -> Object:
        return self.call("GET", f"{NODES}/{name}")

    def pods(self, selector: str = "") -> list[Object]:
        """All of namespace default; `selector` is a field selector, e.g. "spec.nodeName=n1"."""
        return self.call("GET", PODS + (f"?fieldSelector={selector}" if selector else ""))["items"]

    def nodes(self) -> list[Object]:
        return self.call("GET", NODES)["items"]

    def annotate(self, path: str, changes: dict[str, str | None]) -> None:
        """Merge-patches annotations; None removes."""
        self.call("PATCH", path, {"metadata": {"annotations": changes}}, MERGE_PATCH)

    def delete_pods(self, *names: str) -> None:
        """At once: no kubelet is there to end them gracefully."""
        list(self._workers.map(lambda name: self.call("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0"), names))

    def set_phase(self, name: str, phase: str) -> None:
        self.call("PATCH", f"{PODS}/{name}/status", {"status": {"phase": phase}}, MERGE_PATCH)

    def protect(self, app: str) -> None:
        """A budget as the disruption controller would keep it, for the pods with this label."""
        meta = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app}}
        made = self.call("POST", BUDGETS, meta | {"spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": app}}}})
        status = {"observedGeneration": made["metadata"]["generation"], "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
        self.call("PATCH", f"{BUDGETS}/{app}/status", {"status": status}, MERGE_PATCH)

    def delete_everything(self) -> None:
        self._delete_all(PODS, {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
        self._delete_all(NODES, {"apiVersion": "v1", "kind": "DeleteOptions"})

    def _delete_all(self, path: str, options: Object, tries: int = 5) -> None:
        """A thousand objects take a busy API server longer than it gives one request; it goes on where it was."""
        for left in reversed(range(tries)):
            try:
                self.call("DELETE", path, options)
                return
            except ApiError as error:
                if error.status != 504 or left == 0:
                    raise

    def events(self, pod: str, reason: str = "FailedScheduling") -> list[str]:
        """Messages of the living pod's events with that reason, oldest first."""
        selector = f"involvedObject.uid={self.pod(pod)['metadata']['uid']},reason={reason}"
        return [event["message"] for event in self.call("GET", f"/api/v1/namespaces/default/events?fieldSelector={selector}")["items"]]
