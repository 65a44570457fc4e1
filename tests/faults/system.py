"""A machine that does not give what is asked of it."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable

from naic_reid.training import resume
from tests.faults.case import Case
from tests.faults.images import unreadable
from tests.faults.world import DATA, Command, World, with_settings

# Root reads and writes whatever the permissions say; without these powers it does not.
AS_ANYBODY = "setpriv --bounding-set=-dac_override,-dac_read_search"
FULL = (
    "mount -t tmpfs -o size={size} none results/{folder} || exit 77; "
    '"$@"; status=$?; [ -z "$(ls -A results/{folder})" ] || echo "a file is left" >&2; exit $status'
)
READ_ONLY = 'mount --bind {0} {0} && mount -o remount,bind,ro {0} || exit 77; exec "$@"'
NO_SHM = 'mount -t tmpfs -o size=4k,ro none /dev/shm || exit 77; exec "$@"'
CRAMPED = 'python=$1; shift 3; exec "$python" -m tests.faults.cramped {megabytes} "$@"'

_held: list[tuple[int, float]] = []


def possible() -> bool:
    """Whether this machine lets us mount things for a process of our own."""
    mounts = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    try:
        return subprocess.run(mounts, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _command(*words: str) -> Callable[[World], list[Command]]:
    return lambda world: [world.command(*words)]


def _without(name: str) -> Callable[[World], None]:
    return lambda world: world.path(f"results/{name}").unlink()


def _large_images(world: World) -> list[Command]:
    return [with_settings(world.command("toy"), toy={"height": 1024, "width": 1024})]


def _trains_here(world: World) -> None:
    """Hold the lock of the run that the next training would take up."""
    status, printed = world.run(world.command("train", "train/large"))
    assert status == 0, printed
    (lock,) = world.path("scratch/train").glob("*/lock")
    lock.write_text("process 4711 on another")
    handle = os.open(lock, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    _held.append((handle, resume.PATIENCE))
    resume.PATIENCE = 0.1


def _released(world: World) -> None:
    handle, resume.PATIENCE = _held.pop()
    os.close(handle)


def _tomorrow(world: World) -> None:
    """All files of the day are from tomorrow: the clock was put back."""
    late = time.time() + 86_400
    for path in world.path("results").rglob("*"):
        if path.suffix in (".tsv", ".npz", ".pt"):
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
            os.utime(path, (late, late))


def _nothing_trained(world: World) -> None:
    world.path("results/train/large/epoch_1.pt").unlink()


def _dangling_scratch(world: World) -> None:
    world.path("scratch").symlink_to("nowhere/at/all")


def _stale_part(world: World) -> None:
    """What a process of this host left when it was killed."""
    import socket

    gone = subprocess.Popen(["true"])
    gone.wait()
    world.path(f"results/holdout/.train.tsv.{socket.gethostname()}.{gone.pid}.part").write_text("half")


CASES = [
    Case("System", "disk full: a table", _without("collect/images.tsv"), _command("collect"),
         outside=FULL.format(size="8k", folder="collect"),
         says="results/collect/images.tsv: cannot be written .No space left on device.: free space"),
    Case("System", "disk full: features, as they come", _without("extract/large/epoch_1/query_green.npz"),
         _command("extract", "extract/large", "query_green"),
         outside=FULL.format(size="4k", folder="extract/large/epoch_1"), slow=True,
         says="query_green.npz: cannot be written .No space left on device.: free space"),
    Case("System", "disk full: a checkpoint", _nothing_trained, _command("train", "train/large"),
         outside=FULL.format(size="1m", folder="train/large"), slow=True,
         says="results/train/large/epoch_1.pt: cannot be written .*: free space"),
    Case("System", "files may have 4 kB at most", _without("extract/large/epoch_1/query_green.npz"),
         _command("extract", "extract/large", "query_green"), outside='ulimit -f 8; exec "$@"', slow=True,
         says="query_green.npz: cannot be written .File too large.: free space"),
    Case("System", "1.5 GB of address space", lambda world: None, _command("search", "search/large", "green"),
         outside='ulimit -v 1500000; exec "$@"', slow=True, says="only 1,464 MB of address space"),
    Case("System", "3.5 GB of address space", lambda world: None, _command("search", "search/large", "green"),
         outside='ulimit -v 3500000; exec "$@"', slow=True, says="only 3,417 MB of address space"),
    Case("System", "scratch is a link that leads nowhere", _dangling_scratch,
         _command("train", "train/large"), says="scratch: a symbolic link that leads nowhere"),
    Case("System", "results folder read-only", lambda world: None, _command("holdout"),
         outside=READ_ONLY.format("results"),
         says="results/holdout/.*: cannot be written .Read-only file system"),
    Case("System", "results folder without permission to write",
         lambda world: world.path("results/holdout").chmod(0o555), _command("holdout"),
         outside=f'exec {AS_ANYBODY} "$@"', says="results/holdout/.*: cannot be written .Permission denied",
         check=lambda world: world.path("results/holdout").chmod(0o755)),
    Case("System", "image without permission to read", unreadable, _command("collect"),
         outside=f'exec {AS_ANYBODY} "$@"', says="cannot be read: Permission denied"),
    Case("System", "out of memory", lambda world: shutil.rmtree(world.path(DATA)), _large_images, 1,
         outside=CRAMPED.format(megabytes=64), says="out of memory: free some, or give the step less"),
    Case("System", "no room in /dev/shm", _without("extract/large/epoch_1/query_green.npz"),
         lambda world: [[*world.command("extract", "extract/large", "query_green"), "--workers", "2"]], 0,
         outside=NO_SHM, slow=True, leaves="written: extract/large/epoch_1/query_green.npz",
         note="goes on: workers are threads and share nothing through it"),
    Case("System", "files from tomorrow: the clock was put back", _tomorrow, _command("fuse", "fuse/green"),
         0, note="goes on: contents decide, not dates"),
    Case("System", "another training of the same run", _trains_here, _command("train", "train/large"),
         says="process 4711 on another trains here already: wait for it, or stop it", check=_released),
    Case("System", "a part left by a killed process", _stale_part, _command("holdout"), 0,
         note="goes on, and sweeps the part up"),
]  # fmt: skip
