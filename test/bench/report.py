#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lines "ID VALUE" from stdin → one table on stdout, and JSON into a file. Knows every measurement's unit and target, and nothing else does."""

import argparse
import json
import sys
from dataclasses import dataclass


@dataclass
class Measurement:
    id: str
    unit: str
    target: float | None  # None: the figure is for comparison only
    at_least: bool = False  # better when larger; otherwise when smaller

    def verdict(self, value: float) -> str:
        if self.target is None:
            return "-"
        met = value >= self.target if self.at_least else value <= self.target
        return f"{'≥' if self.at_least else '≤'} {self.target:<6g} {'met' if met else 'MISSED'}"


SCHEDULER = [
    Measurement("filter_500_of_5000_p50_us", "µs", 80),
    Measurement("filter_500_of_5000_p99_us", "µs", 300),
    Measurement("filter_5000_of_5000_p50_us", "µs", 200),
    Measurement("filter_5000_of_5000_p99_us", "µs", 500),
    Measurement("filter_15000_of_15000_p50_us", "µs", 400),
    Measurement("filter_15000_of_15000_p99_us", "µs", 1000),
    Measurement("filter_churn_p99_ratio", "ratio", 2),
    Measurement("filter_growth_1200000_pods_ratio", "ratio", 1.2),
    Measurement("filter_bind_pods_per_s", "pods/s", 1000, at_least=True),
    Measurement("binds_per_s_one_node", "binds/s", 50, at_least=True),
    Measurement("writes_per_pod", "writes", 1),
    Measurement("rss_15000n_120000p_mib", "MiB", 95),
    Measurement("rss_15000n_1200000p_mib", "MiB", 429),
    Measurement("cold_start_15000n_120000p_s", "s", 1.5),
    Measurement("e2e_ratio_50n", "ratio", 0.65, at_least=True),
    Measurement("e2e_ratio_500n", "ratio", 0.50, at_least=True),
    Measurement("e2e_ratio_5000n", "ratio", 0.65, at_least=True),
    Measurement("e2e_pods_per_s_5000n", "pods/s", None, at_least=True),
]
INTERCEPT = [
    Measurement("launch_unlimited_added_ns", "ns", 3),
    Measurement("launch_limited_added_ns", "ns", 8),
    *(Measurement(f"launch_limited_{count}_processes_ratio", "ratio", 1.2) for count in (2, 4, 8, 16)),
    Measurement("alloc_free_0_live_ns", "ns", 80),
    Measurement("alloc_free_10k_live_ns", "ns", 80),
    Measurement("alloc_free_1m_live_ns", "ns", 80),
    Measurement("alloc_free_255_processes_ns", "ns", 80),
    Measurement("mem_get_info_ns", "ns", 50),
    Measurement("get_proc_address_added_ns", "ns", 60),
    Measurement("memcpy_async_added_ns", "ns", 2),
    Measurement("start_256_p99_added_ms", "ms", 5),
    Measurement("exec_true_added_us", "us", 20),
    Measurement("agent_number_us", "us", 100),
]
SUBJECTS = {"scheduler": SCHEDULER, "intercept": INTERCEPT}


def rounded(value: float) -> float:
    """To four digits: more than a measurement on a shared machine knows."""
    return float(f"{value:.4g}")


def row(measurement: Measurement, value: float) -> str:
    return f"{measurement.id:<34} {rounded(value):>9g} {measurement.unit:<8} {measurement.verdict(value)}"


def read(lines: list[str], measurements: list[Measurement]) -> dict[str, float]:
    values = {name: float(value) for name, value in (line.split() for line in lines if line.strip())}
    unknown = values.keys() - {measurement.id for measurement in measurements}
    assert not unknown, f"no such measurement: {unknown}"
    return values


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", choices=SUBJECTS, default="scheduler")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--only", metavar="PREFIX", default="", help="what else is measured is of no interest")
    parser.add_argument("--without", metavar="PREFIX", default="-", help="do not miss these")
    arguments = parser.parse_args()
    measurements = SUBJECTS[arguments.subject]
    values = read(sys.stdin.readlines(), measurements)
    wanted = [measurement for measurement in measurements if measurement.id.startswith(arguments.only) and not measurement.id.startswith(arguments.without)]
    done = [measurement for measurement in wanted if measurement.id in values]
    print(f"{'measurement':<34} {'value':>9} {'unit':<8} target")
    print("\n".join(row(measurement, values[measurement.id]) for measurement in done))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump([{"id": m.id, "value": rounded(values[m.id]), "unit": m.unit, "target": m.target} for m in done], file, indent=1)
            file.write("\n")
    missing = [measurement.id for measurement in wanted if measurement not in done]
    if missing or not wanted:
        print("not measured: " + (", ".join(missing) or arguments.only), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
