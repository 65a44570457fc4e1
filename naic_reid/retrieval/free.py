"""How much memory this process may still take: the machine's, or what its job or container has left."""

from pathlib import Path

import psutil

CONTROL = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def memory() -> int:
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
