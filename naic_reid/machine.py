"""What this process may use of a machine: processors, memory, GPUs. A job or container has not all of it."""

import fcntl
import math
import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from naic_reid.errors import ReidError

CONTROL = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
DEVICES = Path("/dev")


def processors() -> int:
    """How many processors this process may keep busy: those it is bound to, within its groups' quotas.

    Processes that torchrun started side by side share them.
    """
    found = len(os.sched_getaffinity(0))
    for group in _groups():
        with suppress(OSError, ValueError):
            quota, period = map(int, (group / "cpu.max").read_text().split())
            found = min(found, math.ceil(quota / period))
    return max(1, found // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def free_memory() -> int:
    """Bytes: what is free, within the limits of every control group (cgroups v2) this process is in.

    Slurm, Kubernetes and Docker set such a limit and kill what goes beyond it, while the whole machine's
    free memory is still what the kernel reports. File pages that can be dropped count as free.
    """
    free = int(psutil.virtual_memory().available)
    for group in _groups():
        limit = _number(group / "memory.max")
        if limit is not None:
            free = min(free, limit - (_number(group / "memory.current") or 0) + _droppable(group))
    return max(free, 0)


def amount(text: str) -> int | None:
    """Bytes, as a person writes them: 800MB, 6GB, 1.5G; None of an empty text.

    Raises:
        ReidError: it is no amount of memory.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([kMGT]?)i?B?", text)
    if text and not found:
        raise ReidError(f"memory {text!r} is no amount: write it like 800MB or 6GB")
    return int(float(found[1]) * 1000 ** " kMGT".index(found[2] or " ")) if found else None


def _groups() -> list[Path]:
    """This process's control group and those around it."""
    try:
        lines = OWN.read_text().splitlines()
    except OSError:
        return []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if own is None:
        return []
    group = CONTROL / own
    return [group, *(parent for parent in group.parents if parent.is_relative_to(CONTROL))]


def _droppable(group: Path) -> int:
    try:
        fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("inactive_file", 0))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None


def gpus() -> list[str]:
    """The GPUs this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for word in named.split(",") if (name := word.strip())]
    return [str(number) for number in range(len(list(DEVICES.glob("nvidia[0-9]*"))))]


def own_gpus(number: int, told: Callable[[str], None] = lambda _: None) -> list[str]:
    """So many of the GPUs, which no other process has that asked here; it keeps them until it ends.

    What a process is replaced with (`exec`) keeps them too. Waits for GPUs that are taken, and tells so
    once. Two users do not know of each other: each gives theirs by CUDA_VISIBLE_DEVICES.

    Raises:
        ReidError: there are not so many.
    """
    usable = gpus()
    if number > len(usable):
        raise ReidError(
            f"{number} GPUs are asked for and {len(usable)} are here (CUDA_VISIBLE_DEVICES, if set, names "
            "those to use): ask for fewer"
        )
    folder = Path(tempfile.gettempdir()) / f"naic-reid-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    waits = False
    while True:
        with (folder / "choosing").open("w") as choosing:
            fcntl.flock(choosing, fcntl.LOCK_EX)  # one chooses at a time: all that are asked for, or none
            held = {
                name: handle
                for name in usable
                if (handle := _held(folder / name.replace("/", "_"))) is not None
            }
            chosen = list(held)[:number] if len(held) >= number else []
            for name, handle in held.items():
                if name in chosen:
                    os.set_inheritable(handle, True)  # the lock ends with the last process that has it open
                else:
                    os.close(handle)
        if chosen:
            return chosen
        if not waits:
            told(f"waits until {number} of the GPUs {', '.join(usable)} are free")
            waits = True
        time.sleep(1)


def _held(lock: Path) -> int | None:
    """The lock, taken; none: another has it."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
