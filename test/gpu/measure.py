#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What libpartage.so does on a real GPU (or on the fake driver): hooks, memory truth, limits, isolation, overhead. run.sh builds and starts it.

Every comparison takes turns (bare, unlimited, limited, bare, …) within one run; a figure is the median over the turns.
"""
import argparse
import contextlib
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
CONTROLLED = ("LD_PRELOAD", "PARTAGE_LIMITS", "PARTAGE_USAGE", "NVIDIA_VISIBLE_DEVICES", "GPU_CORE_UTILIZATION_POLICY")


class Container:
    """One container's processes: the library preloaded, limits by HAMi's variables, a usage file of its own."""

    def __init__(self, options, folder, memory_mib=0, cores=0):
        self.options = options
        self.environment = {k: v for k, v in os.environ.items() if k not in CONTROLLED and not k.startswith("CUDA_DEVICE_")}
        self.environment["LD_PRELOAD"] = str(options.library)
        if memory_mib:
            self.environment["CUDA_DEVICE_MEMORY_LIMIT"] = f"{memory_mib}m"
        if cores:
            self.environment |= {"CUDA_DEVICE_SM_LIMIT": str(cores), "GPU_CORE_UTILIZATION_POLICY": "force"}
        if memory_mib or cores:
            self.environment["PARTAGE_USAGE"] = tempfile.mktemp(prefix="usage-", dir=folder)

    def start(self, *command, **more):
        return subprocess.Popen([str(word) for word in command], env=self.environment, stdout=subprocess.PIPE, text=True, **more)

    def client(self, *words):
        return output(self.start(self.options.client, *words))


class Bare(Container):
    """Processes without the library."""

    def __init__(self, options, folder):
        super().__init__(options, folder)
        del self.environment["LD_PRELOAD"]


def output(process, seconds=300):
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError(f"{process.args} did not end within {seconds} s") from None
    if process.returncode != 0:
        raise RuntimeError(f"{process.args} ended with {process.returncode}")
    return text


def numbers(text):
    return [float(word) for word in text.split()]


class Report:
    def __init__(self):
        self.figures, self.skipped = [], []

    def add(self, part, name, value, unit, target=None):
        """`target` is (low, high), either None; a figure outside is missed."""
        low, high = target or (None, None)
        met = None if target is None else (low is None or value >= low) and (high is None or value <= high)
        self.figures.append({"part": part, "id": name, "value": round(value, 4), "unit": unit, "target": target, "met": met})
        print(f"  {part:10} {name:44} {value:12.3f} {unit:8}{'' if met is not False else '  MISSED'}", flush=True)

    def skip(self, part, reason):
        self.skipped.append({"part": part, "reason": reason})
        print(f"  {part:10} skipped: {reason}", flush=True)


def hooks(run):
    """Hooked names lead to the library by both ways of looking up, others to the driver; without limits all lead to the driver."""
    library = run.options.library.name
    for name, container, own in (("limited", run.limited(), True), ("unlimited", run.unlimited(), False)):
        wrong = 0
        for line in container.client("hooks").splitlines():
            function, symbol, proc = line.split()
            hooked = own and function != "cuDriverGetVersion"
            wrong += (symbol == library) != hooked and symbol != "nowhere"
            wrong += proc not in ("unasked", "nowhere") and (proc == library) != hooked
        run.report.add("hooks", f"wrong_lookups_{name}", wrong, "names", (None, 0))


def memory(run):
    """What the library charges against what NVML, asked from outside, says the process or else the device took."""
    container = run.limited(memory=4096)
    observer = Bare(run.options, run.folder).start(run.options.client, "observe", stdin=subprocess.PIPE)
    client = container.start(run.options.client, "each-way", stdin=subprocess.PIPE)

    def seen():
        observer.stdin.write(f"{client.pid}\n")
        observer.stdin.flush()
        device, process = numbers(observer.stdout.readline())
        return (process, "process") if process >= 0 else (device, "device")

    before = None
    for line in client.stdout:
        way, asked, told = line.split()
        (physical, source), told = seen(), float(told)
        if way == "context" and source == "process":
            run.report.add("memory", "context_charged_minus_nvml", (told - physical) / MIB, "MiB", (-64, 64))
        if int(asked):
            charged, taken = told - before[0], physical - before[1]
            run.report.add("memory", f"{way}_charged_per_byte_asked", charged / int(asked), "ratio", (1, 1.1))
            run.report.add("memory", f"{way}_charged_minus_nvml_{source}", (charged - taken) / MIB, "MiB", (-2, 2))
        before = (told, physical)
        client.stdin.write("\n")
        client.stdin.flush()
    client.wait()
    observer.stdin.close()
    observer.wait()
    most, again = numbers(container.client("fill-up"))
    run.report.add("memory", "most_of_4096_mib_share", most, "MiB", (2048, 4096))
    run.report.add("memory", "refused_after_freeing", again, "code", (None, 0))


def limiter(run):
    """One tenant alone under each cap, kernels of several lengths."""
    kernels = (20e3, 1e6, 20e6) if not run.options.quick else (1e6,)
    caps = (10, 25, 50, 75, 90) if not run.options.quick else (30,)
    for ns in kernels:
        for cap in caps:
            mean, *seconds = numbers(run.limited(cores=cap).client("busy", ns, run.seconds, run.turns_per_ns))
            run.report.add("limiter", f"kernel_{ns / 1e3:g}us_cap_{cap}", mean, "percent", (cap - 1, cap + 1))
            if seconds:
                run.report.add("limiter", f"kernel_{ns / 1e3:g}us_cap_{cap}_worst_second", max(abs(s - cap) for s in seconds), "points", (None, 3))


def isolation(run):
    """Tenants that all want the whole GPU at the same time, held by the library alone, against the same ones unlimited."""
    for ns in (200e3, 1e6) if not run.options.quick else (1e6,):
        for caps in ((30, 70), (10, 90), (25, 25, 25, 25)) if not run.options.quick else ((30, 70),):
            shares, free = (together(run, ns, containers) for containers in
                            ([run.limited(cores=cap) for cap in caps], [run.unlimited() for _ in caps]))
            name = f"kernel_{ns / 1e3:g}us_" + "_".join(map(str, caps))
            for i, (cap, share) in enumerate(zip(caps, shares)):
                run.report.add("isolation", f"{name}_tenant_{i}", share, "percent", (cap - 1, cap + 1))
            run.report.add("isolation", f"{name}_total_of_unlimited", 100 * sum(shares) / max(sum(free), 1e-9), "percent", (97, None))


def together(run, ns, containers):
    processes = [c.start(run.options.client, "busy", ns, run.seconds, run.turns_per_ns) for c in containers]
    return [numbers(output(process))[0] for process in processes]


def overhead(run):
    """The same work bare, with the library and no limits, and with limits that do not bind (95 % of the time, all but a little of the memory)."""
    few = run.options.quick
    storms = {"launch_storm": (2_000 if few else 200_000, "ns/call", 1.05), "allocator_storm": (500 if few else 20_000, "ns/call", 1.10),
              "graph_replay": (20 if few else 5_000, "ns/call", 1.05)}
    for name, (times, unit, most) in storms.items():
        compare(run, name, unit, most, lambda c, n=name, t=times: numbers(c.client(n.replace("_", "-"), t))[0])
    torch = subprocess.run([sys.executable, HERE / "torch_work.py", "--check"], capture_output=True, text=True)
    if torch.returncode != 0:
        return run.report.skip("overhead", "GEMM loop and training step: " + (torch.stdout.strip() or "PyTorch cannot be asked"))
    for name in ("gemm_loop", "training_step"):
        compare(run, name, "ms", 1.02, lambda c, n=name: numbers(output(c.start(sys.executable, HERE / "torch_work.py", n)))[0])


def compare(run, name, unit, most, measure):
    values = {"bare": [], "unlimited": [], "limited": []}
    for _ in range(run.turns):
        for kind, container in (("bare", Bare(run.options, run.folder)), ("unlimited", run.unlimited()), ("limited", run.limited(cores=95))):
            values[kind].append(measure(container))
    run.report.add("overhead", f"{name}_bare", statistics.median(values["bare"]), unit)
    for kind in ("unlimited", "limited"):
        ratio = statistics.median(one / bare for one, bare in zip(values[kind], values["bare"]))
        run.report.add("overhead", f"{name}_{kind}_ratio", ratio, "of bare", (None, most))


class Run:
    def __init__(self, options, folder):
        self.options, self.folder, self.report = options, folder, Report()
        self.seconds, self.turns = (2.5, 1) if options.quick else (12, 7)
        self.turns_per_ns = numbers(Bare(options, folder).client("calibrate"))[0]

    def limited(self, memory=0, cores=0):
        return Container(self.options, self.folder, memory or self.options.share_mib, cores)

    def unlimited(self):
        return Container(self.options, self.folder)


def about(options):
    """What was measured where; no field is left out, unknown is a value."""
    def ask(*command):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, cwd=HERE).stdout.strip()
        return "unknown"
    gpu = "fake driver" if os.environ.get("FAKE_CUDA") else ask("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    return {"gpu": gpu, "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"), "commit": ask("git", "rev-parse", "--short=12", "HEAD"),
            "kernel": os.uname().release, "cpus": os.cpu_count(), "quick": options.quick, "library_bytes": options.library.stat().st_size}


def markdown(header, report):
    lines = ["# libpartage.so on " + header["gpu"], "", *(f"- {key}: {value}" for key, value in header.items())]
    for part in dict.fromkeys(figure["part"] for figure in report.figures):
        lines += ["", f"## {part}", "", "| figure | value | unit | target | |", "|---|---|---|---|---|"]
        for f in report.figures:
            if f["part"] == part:
                low, high = f["target"] or ("", "")
                target = "" if f["target"] is None else f"{'' if low is None else low} to {'' if high is None else high}"
                lines.append(f"| `{f['id']}` | {f['value']:g} | {f['unit']} | {target} | {'**missed**' if f['met'] is False else ''} |")
    if report.skipped:
        lines += ["", "## Skipped", "", *(f"- {skipped['part']}: {skipped['reason']}" for skipped in report.skipped)]
    return "\n".join(lines) + "\n"


def main():
    parts = {part.__name__: part for part in (hooks, memory, limiter, isolation, overhead)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=pathlib.Path, required=True)
    parser.add_argument("--client", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for report.json and report.md")
    parser.add_argument("--share-mib", type=int, default=8192, help="the memory limit of a limited container")
    parser.add_argument("--only", choices=parts, action="append", help="only this part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few and short measurements: to see that it works; the numbers mean little")
    options = parser.parse_args()
    options.library, options.client = options.library.resolve(), options.client.resolve()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options, folder)
        for name in options.only or parts:
            began = time.monotonic()
            try:
                parts[name](run)
            except RuntimeError as error:  # the other parts still tell something
                failed = True
                run.report.skip(name, f"failed: {error}")
            print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
    header = about(options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.json").write_text(json.dumps({**header, "figures": run.report.figures, "skipped": run.report.skipped}, indent=1) + "\n")
    (options.out / "report.md").write_text(markdown(header, run.report))
    missed = [figure["id"] for figure in run.report.figures if figure["met"] is False]
    print(f"{len(run.report.figures)} figures, {len(missed)} missed their target; {options.out}/report.md")
    return 1 if failed or any(name.startswith(("wrong_lookups", "refused_after", "most_of")) for name in missed) else 0


if __name__ == "__main__":
    sys.exit(main())
