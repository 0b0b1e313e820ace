#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Garbage in annotations and HTTP bodies: a clear answer or a quarantine, a living process, an unchanged ledger."""

import http.client
import json

from harness.api import NODES, Object
from harness.objects import ALLOCATION, HAMI_ALLOCATED, HAMI_REGISTER, INVENTORY, Gpu, Node, Pod
from harness.process import eventually
from harness.scenario import Scenario, main


def inventory(**changes: object) -> str:
    """A one-card inventory with some of the card's members changed."""
    return json.dumps({"version": 1, "devices": [Gpu("g").inventory_entry(0) | changes]})


BAD_INVENTORIES = {
    "not-json": "GPU!",
    "truncated": inventory()[:-9],
    "empty": "",
    "a-number": "7",
    "a-list": "[]",
    "deep": "[" * 50000,
    "version-2": inventory().replace('"version": 1', '"version": 2'),
    "no-version": inventory().replace('"version": 1, ', ""),
    "negative-memory": inventory(memoryMiB=-1),
    "huge-memory": inventory(memoryMiB=10**30),
    "beyond-int32": inventory(memoryMiB=2**31),
    "fractional-cores": inventory(cores=0.5),
    "text-for-number": inventory(slots="10"),
    "null-uuid": inventory(uuid=None),
    "empty-uuid": inventory(uuid=""),
    "unknown-mode": inventory(mode="quantum"),
    "duplicate-uuid": json.dumps({"version": 1, "devices": [Gpu("g").inventory_entry(0), Gpu("g").inventory_entry(1)]}),
    "control-characters": inventory(model="\u0000\u001b[31m"),
    "large": inventory(model="x" * 200_000),
}
UNUSUAL_BUT_RIGHT = {"control-characters", "large"}

BAD_REGISTERS = {
    "hami-not-json": "GPU!",
    "hami-truncated": '[{"id":"g","count":10,"devmem":1000',
    "hami-no-id": '[{"count":10,"devmem":1000,"devcore":100,"type":"NVIDIA L4","health":true}]',
    "hami-negative": '[{"id":"g","count":-1,"devmem":1000,"devcore":100,"type":"NVIDIA L4","health":true}]',
    "hami-colon-fields": "g,10,24000:",
    "hami-colon-text": "g,ten,24000,100,NVIDIA L4,0,true:",
}


class Nodes(Scenario):
    def test_a_node_whose_inventory_is_garbage_is_left_out_and_the_others_work(self) -> None:
        bad = [Node(name).annotation(INVENTORY, text).build() for name, text in BAD_INVENTORIES.items()]
        bad += [Node(name).annotation(HAMI_REGISTER, text).build() for name, text in BAD_REGISTERS.items()]
        self.api.create_nodes(*bad)
        self.nodes(Node("good").gpus(2).build())
        self.bind(*(Pod(f"p{index}").container(gpumem=1000).spec(nodeSelector={"kubernetes.io/hostname": "good"}).build() for index in range(3)))
        for name in (BAD_INVENTORIES.keys() | BAD_REGISTERS.keys()) - UNUSUAL_BUT_RIGHT:
            with self.subTest(name):
                self.assertNotEqual("", self.quarantine_of(name))
                pod = Pod(f"for-{name}").container(gpumem=100).spec(nodeSelector={"kubernetes.io/hostname": name}).build()
                self.assertIn("quarantined", self.refuse(pod))

    def test_the_last_good_inventory_stays_while_a_new_one_cannot_be_read(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.bind(Pod("before").container(gpumem=1000).build())
        good = self.api.node("n")["metadata"]["annotations"][INVENTORY]
        self.api.annotate(f"{NODES}/n", {INVENTORY: good[:-5]})
        eventually("the node is quarantined", lambda: self.quarantine_of("n"), timeout=5)
        self.assertIn("quarantined", self.refuse(Pod("after").container(gpumem=1000).build()))
        self.assertEqual(1000, self.ledger()["n", "n-gpu-0"].memory)
        self.api.annotate(f"{NODES}/n", {INVENTORY: good})
        self.wait_bound({"after"}, timeout=5)
        self.assert_ledger_is_true()

    def test_a_card_that_vanishes_under_its_pods(self) -> None:
        self.nodes(Node("n").gpus(2).build())
        pods = self.bind(*(Pod(f"p{index}").container(gpumem=20000).build() for index in range(2)))
        first = Node("n").gpus(1).build()["metadata"]["annotations"]
        self.api.annotate(f"{NODES}/n", first)
        self.refuse(Pod("more").container(gpumem=5000).build())
        on_vanished = [pod["metadata"]["name"] for pod in pods if self.devices_of(pod) == ["n-gpu-1"]]
        self.api.delete_pods(*on_vanished)


class Pods(Scenario):
    def assert_quarantines_its_node(self, pod: Pod) -> None:
        """Nobody can tell what a pod already running on n holds: nothing new goes there while it lives."""
        self.api.create_pods(pod.spec(nodeName="n").build())
        eventually("the node is quarantined", lambda: self.quarantine_of("n"), timeout=5)  # a filter that comes before the watch's word may still choose n
        self.assertIn("quarantined", self.refuse(Pod("waiting").container(gpumem=1).build()))
        self.api.delete_pods(pod.name)
        self.wait_bound({"waiting"}, timeout=10)
        self.api.delete_pods("waiting")

    def test_a_bound_pod_whose_allocation_cannot_be_read_quarantines_its_node(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        share = '{"uuid":"n-gpu-0","memoryMiB":%s,"cores":0}'
        allocation = '{"version":1,"node":"n","containers":[{"name":"main","kind":"app","vendor":"nvidia","shares":[%s]}]}'
        texts = ["", "{}", "garbage", allocation % (share % -5), allocation % (share % 10**20), allocation % (share % '"1"'), (allocation % share)[:-10]]
        for index, text in enumerate(texts):
            with self.subTest(text):
                self.assert_quarantines_its_node(Pod(f"bad-{index}").container(gpumem=1000).annotation(ALLOCATION, text))

    def test_a_bound_pod_that_asks_but_has_no_allocation_quarantines_its_node(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        self.assert_quarantines_its_node(Pod("bypassed").container(gpumem=1000))

    def test_hamis_allocation_that_cannot_be_read_quarantines_its_node(self) -> None:
        self.nodes(Node("n").gpus(1).hami().build())
        for index, text in enumerate(["n-gpu-0,NVIDIA:;", "n-gpu-0,NVIDIA,x,0:;", "n-gpu-0,NVIDIA,99999999999,0:;", ",,,;", "a,NVIDIA,1,0:;b,NVIDIA,1,0:;c,NVIDIA,1,0:;"]):
            with self.subTest(text):
                pod = Pod(f"bad-{index}").container(gpumem=1000).annotation("hami.io/vgpu-node", "n").annotation(HAMI_ALLOCATED, text)
                self.assert_quarantines_its_node(pod)

    def test_an_allocation_written_by_the_user_is_replaced_by_the_true_one(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        forged = '{"version":1,"node":"n","containers":[{"name":"main","kind":"app","vendor":"nvidia","shares":[]}]}'
        (pod,) = self.bind(Pod("p").container(gpumem=1000).annotation(ALLOCATION, forged).build())
        self.assertEqual(["n-gpu-0"], self.devices_of(pod))
        self.assert_ledger_is_true()

    def test_wild_user_annotations_are_refused_or_served_but_never_fatal(self) -> None:
        self.nodes(Node("n").gpus(1, slots=100).build())
        wild = ["", " ", ",", "," * 10000, "x" * 100_000, "\u0000", "ключ", "{}", "-1", "9" * 400, "true,false"]
        keys = ["nvidia.com/use-gpuuuid", "nvidia.com/nouse-gputype", "nvidia.com/numa-bind", "hami.io/gpu-scheduler-policy", "hami.io/device-scoring-weights"]
        pods = [Pod(f"w-{k}-{v}").container(gpumem=10).annotation(key, value) for k, key in enumerate(keys) for v, value in enumerate(wild)]
        self.api.create_pods(*(pod.build() for pod in pods))
        self.bind(Pod("tame").container(gpumem=10).build())
        self.assert_ledger_is_true()


class Http(Scenario):
    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", int(self.partage.url.rpartition(":")[2]), timeout=20)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"} | headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def filter_arguments(self) -> Object:
        return {"Pod": Pod("p").container(gpumem=1000).build(), "Nodes": None, "NodeNames": ["n"]}

    def test_malformed_bodies_are_answered_with_400_and_where(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        before = self.ledger()
        whole = json.dumps(self.filter_arguments()).encode()
        bodies = [b"", b"{", b"nonsense", b"[]", b"7", b"null", whole[:-20], whole[:40], b"\xff\xfe\x00", b"[" * 100_000, b'{"Pod":7,"NodeNames":["n"]}', b'{"Pod":[],"NodeNames":{}}']
        for path in ("/filter", "/prioritize", "/bind"):
            for body in bodies:
                with self.subTest(f"{path} {body[:30]!r}"):
                    status, answer = self.post(path, body)
                    self.assertEqual(400, status, answer)
                    self.assertGreater(len(answer), 10)
        self.assertEqual(before, self.ledger())

    def test_wrong_methods_and_paths(self) -> None:
        self.assertEqual(404, self.post("/nowhere", b"{}")[0])
        connection = http.client.HTTPConnection("127.0.0.1", int(self.partage.url.rpartition(":")[2]), timeout=20)
        connection.request("GET", "/filter")
        self.assertIn(connection.getresponse().status, (404, 405))
        connection.close()

    def test_a_body_beyond_the_limit_is_refused_without_being_read(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", int(self.partage.url.rpartition(":")[2]), timeout=20)
        connection.putrequest("POST", "/filter")
        connection.putheader("Content-Length", str(10**12))
        connection.endheaders()
        self.assertEqual(413, connection.getresponse().status)
        connection.close()

    def test_binding_what_does_not_exist(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        for arguments in (
            {"PodName": "none", "PodNamespace": "default", "PodUID": "u", "Node": "n"},
            {"PodName": "none", "PodNamespace": "default", "PodUID": "u", "Node": "nowhere"},
            {"PodName": "../../x", "PodNamespace": "..", "PodUID": "u", "Node": "n"},
            {"PodName": "", "PodNamespace": "", "PodUID": "", "Node": ""},
        ):
            with self.subTest(str(arguments)):
                status, answer = self.post("/bind", json.dumps(arguments).encode())
                self.assertTrue(status == 400 or json.loads(answer)["Error"], answer)
        self.assert_ledger_is_true()

    def test_half_open_connections_do_not_starve_the_scheduler(self) -> None:
        self.nodes(Node("n").gpus(1).build())
        port = int(self.partage.url.rpartition(":")[2])
        idle = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(500)]
        for connection in idle:
            connection.connect()
            connection.sock.send(b"POST /filter HTTP/1.1\r\nContent-Length: 1000\r\n")
        self.bind(*(Pod(f"p{index}").container(gpumem=100).build() for index in range(5)), timeout=5)
        for connection in idle:
            connection.close()


if __name__ == "__main__":
    main()
