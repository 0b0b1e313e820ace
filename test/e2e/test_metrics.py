#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes /metrics and answers queries over it; promtool finds nothing to say."""

import json
import shutil
import subprocess
import urllib.parse
from pathlib import Path

from harness.control_plane import ROOT, http_get, http_ok
from harness.objects import Node, Pod, shares
from harness.process import Process, eventually, free_port
from harness.scenario import Scenario, main

HAMI_NAMES = [
    "hami_gpu_memory_limit_bytes", "hami_gpu_core_limit_ratio", "hami_gpu_memory_allocated_bytes", "hami_gpu_shared_count", "hami_gpu_core_allocated_ratio",
    "hami_node_gpu_overview", "hami_node_gpu_memory_allocated_ratio",
]  # fmt: skip


def debian(program: str) -> str:
    """Installed, or unpacked by ./run."""
    return shutil.which(program) or str(ROOT / "build/prometheus/usr/bin" / program)


class Prometheus(Process):
    def __init__(self, folder: Path, target: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        config = folder / "prometheus.yml"
        jobs = [{"job_name": "partage-scheduler", "static_configs": [{"targets": [target]}]}]
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
        address = self.url.removeprefix("http://")
        command = [debian("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/prometheus", f"--web.listen-address={address}"]
        super().__init__("prometheus", command, folder / "prometheus.log")

    def query(self, expression: str) -> dict[str, float]:
        """Instant query: the labels as text → value."""
        answer = json.loads(http_get(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))
        assert answer["status"] == "success", answer
        return {json.dumps(sample["metric"], sort_keys=True): float(sample["value"][1]) for sample in answer["data"]["result"]}

    def value(self, expression: str) -> float | None:
        """Of an expression that gives one sample."""
        return next(iter(self.query(expression).values()), None)


class Metrics(Scenario):
    prometheus: Prometheus

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.prometheus = Prometheus(cls.control_plane.folder, cls.partage.metrics_url.removeprefix("http://"))
        cls.addClassCleanup(cls.prometheus.kill)
        cls.prometheus.start()
        cls.prometheus.wait_ready(lambda: http_ok(f"{cls.prometheus.url}/-/ready"))

    def comes_to(self, value: float, expression: str) -> None:
        eventually(f"{expression} is {value}", lambda: self.prometheus.value(expression) == value, timeout=15, every=0.3)

    def used_cluster(self) -> None:
        """Two nodes with two 24,000 MiB cards each; 10 pods of 2,000 MiB, one whole card, and one pod that waits."""
        self.nodes(*(Node(f"n{index}").gpus(2).build() for index in range(2)))
        self.bind(Pod("whole").container(gpu=1).build(), *shares(10, gpumem=2000, gpucores=5))
        self.refuse(Pod("waiting").container(gpu=3).build())

    def test_prometheus_sees_what_is_given_away(self) -> None:
        self.used_cluster()
        self.comes_to(1, 'up{job="partage-scheduler"}')
        self.comes_to((24000 + 10 * 2000) * 2**20, "sum(hami_gpu_memory_allocated_bytes)")
        self.comes_to(4 * 24000 * 2**20, "sum(hami_gpu_memory_limit_bytes)")
        self.comes_to(11, "sum(hami_gpu_shared_count)")
        self.comes_to(150, "sum(hami_gpu_core_allocated_ratio)")
        self.api.delete_pods("whole")
        self.comes_to(10 * 2000 * 2**20, "sum(hami_gpu_memory_allocated_bytes)")

    def test_latencies_can_be_asked_for(self) -> None:
        self.used_cluster()
        eventually(
            "a filter latency quantile",
            lambda: (self.prometheus.value("histogram_quantile(0.99, sum by (le) (partage_filter_duration_seconds_bucket))") or 0) > 0,
            timeout=15,
        )
        self.comes_to(self.partage.metric("partage_binding_writes_total"), "sum(partage_binding_writes_total)")

    def test_hamis_names_are_served(self) -> None:
        self.used_cluster()
        text = http_get(f"{self.partage.metrics_url}/metrics")
        for name in HAMI_NAMES:
            self.assertIn(f"\n{name}{{", text)
        self.assertEqual(4, len(self.prometheus_labels(text, "hami_gpu_memory_allocated_bytes")))

    @staticmethod
    def prometheus_labels(text: str, name: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith(name + "{")]

    def test_promtool_has_nothing_to_say(self) -> None:
        self.used_cluster()
        text = http_get(f"{self.partage.metrics_url}/metrics")
        verdict = subprocess.run([debian("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
        self.assertEqual((0, "", ""), (verdict.returncode, verdict.stdout, verdict.stderr))

    def test_no_pod_is_named_in_a_label(self) -> None:
        self.used_cluster()
        text = http_get(f"{self.partage.metrics_url}/metrics")
        for name in ("p-0000", "whole", "waiting"):
            self.assertNotIn(f'"{name}"', text)


if __name__ == "__main__":
    main()
