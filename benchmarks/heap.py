"""What keeping freed memory is worth to training on a processor: steps with it and without, in turns.

    python benchmarks/heap.py [--backbone timm/tf_efficientnet_lite0] [--height 256] [--width 128]

Each measurement is a process of its own, for malloc is told once. Seconds are the processor's, user and
system, of one thread; a page fault is a page of 4 kB that the kernel had to clear and map.
"""

import argparse
import resource
import subprocess
import sys

import numpy as np
import torch
from torch import nn

from naic_reid import models
from naic_reid.architecture import Architecture
from naic_reid.heap import keep_freed_memory

HOW = "handed back", "kept"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="timm/tf_efficientnet_lite0")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--how", choices=HOW, help="measure one, in this process")
    options = parser.parse_args()
    if options.how:
        print(*_measured(options))
        return
    rows = {how: [] for how in HOW}
    for _ in range(options.repeats):
        for how in HOW:
            command = [sys.executable, __file__, *sys.argv[1:], "--how", how]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows[how].append([float(word) for word in done.stdout.split()])
    print(
        f"{options.backbone}, {options.height} × {options.width}, {options.precision}, batch {options.batch}"
    )
    print("| freed memory | user s | system s | page faults | largest, MB |\n|---|---|---|---|---|")
    for how, found in rows.items():
        user, system, faults, size = np.median(found, axis=0)
        print(f"| {how} | {user:.2f} | {system:.2f} | {faults:,.0f} | {size:,.0f} |")
    back, kept = (np.array(rows[how])[:, :2].sum(axis=1) for how in HOW)
    print(f"ratio of processor time, kept / handed back: {np.median(kept / back):.2f}")


def _measured(options: argparse.Namespace) -> tuple[float, float, float, float]:
    """User and system seconds and page faults of a step, and the process's largest size in MB."""
    if options.how == "kept":
        assert keep_freed_memory(), "no glibc"
    torch.set_num_threads(1)
    net = models.build(Architecture(backbone=options.backbone, height=options.height, width=options.width))
    net.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(net.parameters())
    images = torch.randn(options.batch, 3, options.height, options.width)
    images = images.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.precision == "bf16"):
            embeddings, features, _ = net(images)["whole"]
        nn.functional.mse_loss(embeddings.float(), features.float()).backward()
        optimizer.step()

    step()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(options.steps):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system, faults = (
        (getattr(after, name) - getattr(before, name)) / options.steps
        for name in ("ru_utime", "ru_stime", "ru_minflt")
    )
    return user, system, faults, after.ru_maxrss / 1024


if __name__ == "__main__":
    main()
