#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Work of PyTorch's for measure.py: prints the milliseconds of one step, the median of many. --check: says why it cannot, with status 1."""
import statistics
import sys
import time


def check():
    try:
        import torch
    except ImportError as error:
        return f"PyTorch is not installed ({error})"
    return None if torch.cuda.is_available() else "PyTorch sees no GPU"


def gemm_loop(torch):
    a, b = (torch.randn(4096, 4096, device="cuda", dtype=torch.float16) for _ in range(2))

    def step():
        for _ in range(10):
            torch.mm(a, b)
    return step


def training_step(torch):
    layers = [layer for _ in range(8) for layer in (torch.nn.Linear(2048, 2048), torch.nn.GELU())]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(2048, 1000)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    images, labels = torch.randn(256, 2048, device="cuda"), torch.randint(1000, (256,), device="cuda")

    def step():
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return step


def main():
    reason = check()
    if sys.argv[1] == "--check":
        if reason:
            print(reason)
        return 1 if reason else 0
    if reason:
        sys.exit(reason)
    import torch
    step = {"gemm_loop": gemm_loop, "training_step": training_step}[sys.argv[1]](torch)
    times = []
    for turn in range(120):
        torch.cuda.synchronize()
        began = time.perf_counter()
        step()
        torch.cuda.synchronize()
        if turn >= 20:
            times.append(1e3 * (time.perf_counter() - began))
    print(statistics.median(times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
