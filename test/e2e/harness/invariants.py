# SPDX-License-Identifier: Apache-2.0
"""Judges a cluster from the API server's objects alone, with an implementation of the rules that shares nothing with the C++ one."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .api import Api, Object
from .objects import ALLOCATION, HAMI_ALLOCATED, HAMI_REGISTER, INVENTORY

GPU, MEMORY, PERCENT, CORES = "nvidia.com/gpu", "nvidia.com/gpumem", "nvidia.com/gpumem-percentage", "nvidia.com/gpucores"


@dataclass(frozen=True)
class Amount:
    slots: int = 0
    memory: int = 0
    cores: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.slots + other.slots, self.memory + other.memory, self.cores + other.cores)

    def __or__(self, other: "Amount") -> "Amount":
        """The larger of each."""
        return Amount(max(self.slots, other.slots), max(self.memory, other.memory), max(self.cores, other.cores))

    def exceeds(self, other: "Amount") -> bool:
        return self.slots > other.slots or self.memory > other.memory or self.cores > other.cores


@dataclass(frozen=True)
class Share:
    uuid: str
    memory: int
    cores: int


@dataclass
class Container:
    name: str
    kind: str  # "init", "sidecar" or "app"
    shares: list[Share] = field(default_factory=list)


# --- Reading objects ---


def live(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName")) and pod["status"].get("phase") not in ("Succeeded", "Failed")


def spec_containers(pod: Object) -> list[tuple[Object, str]]:
    """Every container with its kind, init containers first."""
    inits = [(c, "sidecar" if c.get("restartPolicy") == "Always" else "init") for c in pod["spec"].get("initContainers", [])]
    return inits + [(c, "app") for c in pod["spec"]["containers"]]


def whole_number(quantity: str) -> int:
    """A Kubernetes quantity that is whole: the API server itself rewrites 1000 to 1k."""
    number, exponent, suffix = re.fullmatch(r"(\d+)(?:[eE](\d+))?([kMG]i?|Ki)?", quantity).groups()  # type: ignore[union-attr]
    scale = (1024 if suffix and suffix.endswith("i") else 1000) ** " kMG".index((suffix or " ")[0].replace("K", "k"))
    return int(number) * 10 ** int(exponent or 0) * scale


def wants(container: Object) -> dict[str, int]:
    """The container's GPU quantities."""
    resources = container.get("resources", {})
    merged = resources.get("requests", {}) | resources.get("limits", {})
    return {name: whole_number(value) for name, value in merged.items() if name in (GPU, MEMORY, PERCENT, CORES)}


def asks(pod: Object) -> bool:
    return any(sum(wants(container).values()) for container, _ in spec_containers(pod))


def allocation(pod: Object) -> list[Container] | None:
    """What the pod's annotations say it was given, ours first, else HAMi's; None without either."""
    annotations = pod["metadata"].get("annotations", {})
    if ALLOCATION in annotations:
        entries = json.loads(annotations[ALLOCATION])["containers"]
        return [Container(e["name"], e["kind"], [Share(s["uuid"], s["memoryMiB"], s["cores"]) for s in e.get("shares", [])]) for e in entries]
    if HAMI_ALLOCATED in annotations:
        return _hami_allocation(pod, hami_shares(annotations[HAMI_ALLOCATED]))
    return None


def _hami_allocation(pod: Object, given: list[list[Share]]) -> list[Container]:
    """HAMi leaves out entries of containers without devices: those it wrote belong to the containers that ask, in order."""
    entries = iter([shares for shares in given if shares])
    return [Container(c["name"], kind, next(entries, []) if expected_count(wants(c)) else []) for c, kind in spec_containers(pod)]


def hami_shares(text: str) -> list[list[Share]]:
    """HAMi's annotation text: `UUID,Type,mem,cores:` a device, `;` after each container."""
    devices = [[device.split(",") for device in entry.split(":") if device] for entry in text.split(";")[:-1]]
    return [[Share(uuid, int(memory), int(cores)) for uuid, _, memory, cores in entry] for entry in devices]


def capacities(node: Object) -> dict[str, Amount]:
    """Of each device by UUID; none where the inventory is garbage: nothing may be placed there."""
    annotations = node["metadata"].get("annotations", {})
    try:
        if INVENTORY in annotations:
            devices = json.loads(annotations[INVENTORY])["devices"]
            return {d["uuid"]: Amount(d.get("slots", 10), d["memoryMiB"], d.get("cores", 100)) for d in devices}
        devices = json.loads(annotations.get(HAMI_REGISTER, "[]"))
        return {d["id"]: Amount(d.get("count", 0), d.get("devmem", 0), d.get("devcore", 0)) for d in devices}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}


# --- The rules ---


def usage(containers: list[Container]) -> dict[str, Amount]:
    """What a pod takes off each device: the larger of its peak while starting and its steady state (Kubernetes' sidecar formula)."""
    uuids = {share.uuid for container in containers for share in container.shares}
    return {uuid: _usage_of(uuid, containers) for uuid in uuids}


def _usage_of(uuid: str, containers: list[Container]) -> Amount:
    peak, sidecars, apps = Amount(), Amount(), Amount()
    for container in containers:
        own = sum((Amount(1, s.memory, s.cores) for s in container.shares if s.uuid == uuid), Amount())
        if container.kind == "init":
            peak |= own + sidecars
        elif container.kind == "sidecar":
            sidecars += own
        else:
            apps += own
    return peak | apps + sidecars


def expected_count(quantities: dict[str, int]) -> int:
    """Devices that a container with these quantities gets; asking for memory or cores alone means one."""
    return quantities.get(GPU, 1 if sum(quantities.values()) else 0)


def expected_share(quantities: dict[str, int], total: Amount) -> tuple[int, int]:
    """(memory, cores) that it takes on a device of that capacity. Without a word about memory and cores it is the whole card, alone."""
    memory, percent = quantities.get(MEMORY), quantities.get(PERCENT)
    whole = memory is None and percent in (None, 100)
    cores = quantities.get(CORES, 100 if whole else 0)
    return memory or total.memory * (percent or 100) // 100, min(cores, 100)


# --- Judging ---


def violations(api: Api) -> list[str]:
    """Every broken promise in the cluster now; empty when all is well."""
    nodes = {node["metadata"]["name"]: capacities(node) for node in api.nodes()}
    pods = [pod for pod in api.pods() if live(pod) and (asks(pod) or allocation(pod))]
    return [fault for pod in pods for fault in _pod_faults(pod, nodes)] + list(_device_faults(pods, nodes))


def _pod_faults(pod: Object, nodes: dict[str, dict[str, Amount]]) -> Iterator[str]:
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    given = allocation(pod)
    if given is None:
        yield f"{name} is bound to {node} without an allocation"
        return
    spec = spec_containers(pod)
    if [(c["name"], kind) for c, kind in spec] != [(c.name, c.kind) for c in given]:
        yield f"{name}: containers of the allocation are {[(c.name, c.kind) for c in given]}"
        return
    if (written := json.loads(pod["metadata"]["annotations"].get(ALLOCATION, "{}")).get("node", node)) != node:
        yield f"{name} is on {node}, its allocation names {written}"
    for (container, _), part in zip(spec, given):
        yield from (f"{name}/{part.name}: {fault}" for fault in _container_faults(wants(container), part, nodes.get(node, {})))


def _container_faults(quantities: dict[str, int], given: Container, devices: dict[str, Amount]) -> Iterator[str]:
    count = expected_count(quantities)
    if len({share.uuid for share in given.shares}) != len(given.shares) or len(given.shares) != count:
        yield f"asked for {count} devices, got {given.shares}"
    for share in given.shares:
        if share.uuid not in devices:
            yield f"got {share.uuid}, which the node does not have"
        elif (share.memory, share.cores) != expected_share(quantities, devices[share.uuid]):
            yield f"asked for {quantities}, got {share}"


def _device_faults(pods: list[Object], nodes: dict[str, dict[str, Amount]]) -> Iterator[str]:
    totals: dict[tuple[str, str], Amount] = {}
    holders: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for pod in pods:
        containers = allocation(pod) or []
        for uuid, amount in usage(containers).items():
            device = (pod["spec"]["nodeName"], uuid)
            totals[device] = totals.get(device, Amount()) + amount
            exclusive = any(s.uuid == uuid and s.cores >= 100 for c in containers for s in c.shares)
            holders.setdefault(device, []).append((pod["metadata"]["name"], exclusive))
    for (node, uuid), total in totals.items():
        capacity = nodes.get(node, {}).get(uuid, Amount())
        if total.exceeds(capacity):
            yield f"{node} {uuid}: {total} given away of {capacity}"
        if len(holders[node, uuid]) > 1 and any(exclusive for _, exclusive in holders[node, uuid]):
            yield f"{node} {uuid}: exclusive and yet shared by {holders[node, uuid]}"


def device_usage(api: Api) -> dict[tuple[str, str], Amount]:
    """(node, uuid) → what all live pods take of it, for every device of the cluster."""
    used = {(node["metadata"]["name"], uuid): Amount() for node in api.nodes() for uuid in capacities(node)}
    for pod in filter(live, api.pods()):
        for uuid, amount in usage(allocation(pod) or []).items():
            used[pod["spec"]["nodeName"], uuid] = used.get((pod["spec"]["nodeName"], uuid), Amount()) + amount
    return used
