# SPDX-License-Identifier: Apache-2.0
"""Builders of nodes and pods: Node("n1").gpus(8).build(), Pod("p").container("main", gpu=1, gpumem=3000).build()."""

import copy
import json
from dataclasses import dataclass, field

from .api import Object

INVENTORY = "partage.dev/inventory"
ALLOCATION = "partage.dev/allocation"
HAMI_REGISTER = "hami.io/node-nvidia-register"
HAMI_ALLOCATED = "hami.io/vgpu-devices-allocated"


@dataclass
class Gpu:
    uuid: str
    memory: int = 24000
    cores: int = 100
    slots: int = 10
    model: str = "NVIDIA L4"
    numa: int = 0
    healthy: bool = True
    cordoned: bool = False
    links: dict[str, int] = field(default_factory=dict)

    def inventory_entry(self, index: int) -> Object:
        return {
            "uuid": self.uuid, "index": index, "model": self.model, "memoryMiB": self.memory, "cores": self.cores, "slots": self.slots, "numa": self.numa,
            "healthy": self.healthy, "cordoned": self.cordoned, "links": self.links,
        }  # fmt: skip

    def hami_entry(self, index: int) -> Object:
        """As HAMi's plugin writes it: members that are zero are left out."""
        entry = {
            "id": self.uuid, "index": index, "count": self.slots, "devmem": self.memory, "devcore": self.cores, "type": self.model, "numa": self.numa,
            "mode": "hami-core", "health": self.healthy,
        }  # fmt: skip
        return {key: value for key, value in entry.items() if value}


class Node:
    """A ready node without taints; big enough in cpu, memory and pods that only devices decide."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._gpus: list[Gpu] = []
        self._hami = False
        self._annotations: dict[str, str] = {}
        self._labels = {"kubernetes.io/hostname": name}

    def gpu(self, gpu: Gpu) -> "Node":
        self._gpus.append(gpu)
        return self

    def gpus(self, count: int, **properties: object) -> "Node":
        """`count` like ones, named NODE-gpu-0 and so on."""
        for index in range(count):
            self.gpu(Gpu(f"{self.name}-gpu-{index}", **copy.deepcopy(properties)))  # type: ignore[arg-type]
        return self

    def hami(self) -> "Node":
        """Its inventory is HAMi's annotation instead of ours."""
        self._hami = True
        return self

    def annotation(self, key: str, value: str) -> "Node":
        self._annotations[key] = value
        return self

    def label(self, key: str, value: str) -> "Node":
        self._labels[key] = value
        return self

    def build(self) -> Object:
        allocatable = {"cpu": "10000", "memory": "100Ti", "pods": "5000"}
        ready = {"type": "Ready", "status": "True", "reason": "Test", "message": "", "lastHeartbeatTime": None, "lastTransitionTime": None}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": self._labels, "annotations": self._inventory() | self._annotations},
            "status": {"capacity": allocatable, "allocatable": allocatable, "conditions": [ready]},
        }

    def _inventory(self) -> dict[str, str]:
        if not self._gpus:
            return {}
        if self._hami:
            return {HAMI_REGISTER: json.dumps([gpu.hami_entry(index) for index, gpu in enumerate(self._gpus)])}
        return {INVENTORY: json.dumps({"version": 1, "devices": [gpu.inventory_entry(index) for index, gpu in enumerate(self._gpus)]})}


def limits(**quantities: int | str) -> dict[str, str]:
    """limits(gpu=1, gpumem_percentage=50) → {"nvidia.com/gpu": "1", "nvidia.com/gpumem-percentage": "50"}."""
    return {f"nvidia.com/{name.replace('_', '-')}": str(value) for name, value in quantities.items()}


class Pod:
    def __init__(self, name: str) -> None:
        self.name = name
        self._containers: list[Object] = []
        self._init_containers: list[Object] = []
        self._annotations: dict[str, str] = {}
        self._spec: Object = {"terminationGracePeriodSeconds": 0}

    def container(self, name: str = "main", **quantities: int | str) -> "Pod":
        self._containers.append(self._container(name, quantities))
        return self

    def init(self, name: str, **quantities: int | str) -> "Pod":
        self._init_containers.append(self._container(name, quantities))
        return self

    def sidecar(self, name: str, **quantities: int | str) -> "Pod":
        self._init_containers.append(self._container(name, quantities) | {"restartPolicy": "Always"})
        return self

    def annotation(self, key: str, value: str) -> "Pod":
        self._annotations[key] = value
        return self

    def spec(self, **members: object) -> "Pod":
        """Further members of the spec, e.g. nodeName, schedulerName, affinity."""
        self._spec.update(members)
        return self

    def build(self) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "annotations": self._annotations},
            "spec": self._spec | {"containers": self._containers, "initContainers": self._init_containers},
        }

    @staticmethod
    def _container(name: str, quantities: dict[str, int | str]) -> Object:
        return {"name": name, "image": "none", "resources": {"limits": limits(**quantities)}}


def shares(count: int, prefix: str = "p", first: int = 0, **quantities: int | str) -> list[Object]:
    """`count` one-container pods that ask for the same, named p-0000 and so on."""
    return [Pod(f"{prefix}-{index:04}").container(**quantities).build() for index in range(first, first + count)]
