"""Looks for what would break a long run here, before it does: Slurm, folders, locks, GPUs, versions.

    naic-reid doctor                                     this machine, this folder
    naic-reid doctor --profile profiles/slurm            a cluster: run it where Snakemake will run

One line for each finding; what would break comes with the line to change. Exit status 1 if something
will break. Nothing is sent to the queue, and only a lock file is written for a moment.
"""

import argparse
import fcntl
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from naic_reid.errors import ReidError
from naic_reid.files import regular

NEEDED = {"snakemake": (9, 27), "torch": (2, 6)}
PLUGIN = ("snakemake-executor-plugin-slurm", (2, 8))
SHARED = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "pvfs", "fuse", "9p", "virtiofs", "wekafs")
GIGABYTE = 1 << 30
TRAINING_MINUTES = 1440  # what the rule asks for where the profile says nothing
STATUS_SECONDS = 40  # the plugin's, where the profile says nothing
_WAIT = 15  # seconds for a command to answer


class Finding(NamedTuple):
    """What was looked at, how it is, and what to change."""

    kind: Literal["ok", "note", "breaks"]
    text: str
    change: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="the workflow profile that will be used"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(), metavar="FOLDER", help="where results/ and scratch/ will stand"
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the data folder, if it is elsewhere")


def run(options: argparse.Namespace) -> int:
    """Prints the findings; 1 if one of them will break the run."""
    profile = _profile(options.profile) if options.profile else {}
    cluster = profile.get("executor") == "slurm"
    findings = [*versions(cluster), *gpus(cluster), *place(options.folder)]
    if cluster:
        findings += [*slurm(profile), *seen_by_all_nodes(_places(options.folder, options.data))]
    for finding in findings:
        print(f"{finding.kind:<7}{finding.text}")
        if finding.change:
            print(f"       → {finding.change}")
    broken = sum(finding.kind == "breaks" for finding in findings)
    print(
        f"doctor: {broken} of {len(findings)} findings will break the run" if broken else "doctor: all well"
    )
    return 1 if broken else 0


def versions(cluster: bool) -> Iterator[Finding]:
    """Python, Snakemake, torch and, for a cluster, the executor plugin."""
    yield Finding("ok", f"Python {sys.version.split()[0]}")
    for name, least in {**NEEDED, **dict([PLUGIN] if cluster else [])}.items():
        at_least = ".".join(map(str, least))
        change = f"pip install '{name}>={at_least}' (or bash run.sh install)"
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("breaks", f"{name} is not installed", change)
            continue
        enough = tuple(map(int, re.findall(r"\d+", found)[:2])) >= least
        yield (
            Finding("ok", f"{name} {found}")
            if enough
            else Finding("breaks", f"{name} {found} is old", change)
        )


def gpus(cluster: bool) -> Iterator[Finding]:
    """Whether torch sees the GPUs that the driver shows. A login node needs none."""
    import torch  # late: the other findings need not wait for it

    driver = _answer("nvidia-smi", "--list-gpus")
    shown = len(driver.splitlines()) if driver else 0
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen:
        yield Finding("ok", f"torch {torch.__version__} sees {seen} GPUs")
    elif shown:
        change = (
            "install a torch that is built for this driver's CUDA (pytorch.org), or set CUDA_VISIBLE_DEVICES"
        )
        yield Finding("breaks", f"nvidia-smi lists {shown} GPUs, torch {torch.__version__} sees none", change)
    elif cluster:
        yield Finding("ok", "no GPU on this node: the jobs of the partition named in the profile have them")
    else:
        yield Finding("note", "no GPU: training the submission's models takes weeks; toy and small run well")


def place(folder: Path) -> Iterator[Finding]:
    """Disk, locks and shared memory where the results will stand."""
    if not os.access(folder, os.W_OK):
        elsewhere = "bash run.sh --into ANOTHER-FOLDER, or mend the permissions"
        yield Finding("breaks", f"{folder.absolute()} cannot be written", elsewhere)
        return
    free = shutil.disk_usage(folder).free / GIGABYTE
    text = f"{free:.0f} GB free in {folder.absolute()}"
    more = "checkpoints and features of the reproduction take some 10 GB: bash run.sh --into A-LARGER-DISK"
    yield Finding("breaks" if free < 1 else "note" if free < 10 else "ok", text, more if free < 10 else "")
    yield _locks(folder)
    shm = Path("/dev/shm")
    room = shutil.disk_usage(shm).free / GIGABYTE if shm.is_dir() else 0
    change = "processes on several GPUs talk through it: docker run --shm-size=8g …, or mount a larger tmpfs"
    yield Finding("ok" if room >= 1 else "note", f"/dev/shm: {room:.1f} GB free", "" if room >= 1 else change)


def slurm(profile: Mapping[str, Any]) -> Iterator[Finding]:
    """The cluster against the profile: does it answer, how is it asked, are the partitions there."""
    for command in ("sbatch", "squeue", "scancel", "srun", "sinfo", "scontrol"):
        if not shutil.which(command):
            yield Finding(
                "breaks", f"{command} is not on PATH", "run this on a login node: module load slurm"
            )
            return
    settings = _answer("scontrol", "show", "config")
    if settings is None:
        yield Finding("breaks", "Slurm's controller does not answer", "ask again later: scontrol ping")
        return
    yield from _asked(profile, _setting(settings, "MinJobAge"))
    yield from _partitions(profile)
    if _setting(settings, "PreemptType") not in ("", "preempt/none"):
        cancels = "CANCEL" in _setting(settings, "PreemptMode")
        change = "the plugin waits for ever for a job that preemption ended: choose partitions that requeue"
        yield (
            Finding("note", "preemption ends jobs here", change)
            if cancels
            else Finding("ok", "preempted jobs start again by themselves")
        )
    if any("slurm_account" in rule for rule in _resources(profile).values()):
        change = "take slurm_account out of the profile, and: export SBATCH_ACCOUNT=…"
        yield Finding("note", "the profile names an account: other users would charge it", change)


def seen_by_all_nodes(places: Mapping[str, Path]) -> Iterator[Finding]:
    """On a cluster of several nodes the results, the environment and the data stand on a shared disk."""
    nodes = len(set((_answer("sinfo", "-h", "-N", "-o", "%N") or "").split()))
    for name, path in places.items():
        kind, options = mount(path)
        text = f"{name} {path} is on {kind}"
        if "localflock" in options or "nolock" in options or "local_lock=all" in options:
            change = f"ask for a mount with flock (Lustre: -o flock; NFS: without nolock), or move {name}"
            yield Finding("breaks", f"{text}, whose locks hold on one node only", change)
        elif nodes <= 1 or kind.startswith(SHARED):
            yield Finding("ok", text)
        else:
            where = (
                "bash run.sh --into SHARED-FOLDER" if name == "folder" else f"move {name} to a shared disk"
            )
            yield Finding("breaks", f"{text}, which the other {nodes - 1} nodes do not see", where)


def mount(path: Path, table: str | None = None) -> tuple[str, str]:
    """The type and the options of the file system a path is on, from the kernel's table of mounts."""
    lines = (Path("/proc/mounts").read_text() if table is None else table).splitlines()
    mounts = {fields[1]: (fields[2], fields[3]) for fields in map(str.split, lines) if len(fields) > 3}
    absolute = path.resolve()
    for place in (absolute, *absolute.parents):
        if (found := mounts.get(str(place).replace(" ", "\\040"))) is not None:
            return found
    return "unknown", ""


def _asked(profile: Mapping[str, Any], age: str) -> Iterator[Finding]:
    """How the plugin learns what became of a job."""
    interval = int(profile.get("slurm-init-seconds-before-status-checks", STATUS_SECONDS))
    accounting = _answer("sacct", "-X", "-n", "-S", "now-1hours") is not None
    command = profile.get("slurm-status-command", "sacct")
    if command == "sacct" and not accounting:
        text = "sacct does not work here (no accounting), and the profile asks it: jobs would never end"
        yield Finding("breaks", text, "in the profile: slurm-status-command: squeue")
        return
    yield Finding(
        "ok", f"jobs are asked for with {command}" + ("" if accounting else "; sacct does not work")
    )
    seconds = int(re.findall(r"\d+", age)[0]) if re.search(r"\d", age) else 0
    if command == "squeue" and seconds < 3 * interval:
        text = f"squeue forgets jobs after {seconds} s (MinJobAge), and the profile asks every {interval} s"
        low = seconds // 3
        change = f"in the profile: slurm-init-seconds-before-status-checks: {low}" if low else "use sacct"
        yield Finding("note" if accounting else "breaks", text, change)


def _partitions(profile: Mapping[str, Any]) -> Iterator[Finding]:
    """The partitions that the profile names: are they there, have they GPUs, is training's time allowed."""
    resources = _resources(profile)
    fallback = resources["default-resources"].get("slurm_partition")
    known: dict[str, tuple[str, str]] = {}
    for line in (_answer("sinfo", "-h", "-o", "%R|%G|%l") or "").splitlines():
        name, devices, limit = line.split("|")
        known[name] = (known.get(name, ("", ""))[0] + devices, limit)
    for name in sorted({str(p) for rule in resources.values() if (p := rule.get("slurm_partition"))}):
        if name not in known:
            change = f"in the profile: slurm_partition: one of {', '.join(sorted(known)) or 'sinfo'}"
            yield Finding("breaks", f"there is no partition {name}", change)
    for rule, asked in resources.items():
        devices, limit = known.get(str(asked.get("slurm_partition", fallback)), ("gpu", "infinite"))
        if asked.get("gpu") and "gpu" not in devices:
            change = (
                f"in the profile: set-resources: {rule}: slurm_partition: one with GPUs (sinfo -o '%R %G')"
            )
            yield Finding("breaks", f"{rule} asks for a GPU in a partition that has none", change)
        wanted = asked.get("runtime", TRAINING_MINUTES)
        if rule == "train" and isinstance(wanted, int) and minutes(limit) < wanted:
            text = f"train asks for {wanted} minutes, its partition gives {limit}"
            change = (
                f"in the profile: set-resources: train: runtime: {minutes(limit):.0f}; the next job goes on"
            )
            yield Finding("breaks", text, change)
    yield Finding("ok", f"partitions: {', '.join(sorted(known))}")


def minutes(limit: str) -> float:
    """Slurm's days-hours:minutes:seconds in minutes; infinity where there is no limit."""
    if not re.fullmatch(r"(\d+-)?[\d:]+", limit):
        return float("inf")
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, mins, seconds = [0] * (3 - len(parts)) + parts
    return int(days or 0) * 1440 + hours * 60 + mins + seconds / 60


def _resources(profile: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Resources by rule, the default ones under their own name."""
    found = {"default-resources": profile.get("default-resources"), **(profile.get("set-resources") or {})}
    return {rule: asked if isinstance(asked, dict) else {} for rule, asked in found.items()}


def _locks(folder: Path) -> Finding:
    """Whether a lock held here is seen by another process: trainers and controllers rely on it."""
    taking = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    change = "ask for a mount with flock (Lustre: -o flock), or: bash run.sh --into ANOTHER-FOLDER"
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return Finding(
                "breaks", f"files cannot be locked in {folder.absolute()}: {error.strerror}", change
            )
        second = subprocess.run([sys.executable, "-c", taking, file.name], capture_output=True, check=False)
    if second.returncode == 0:
        return Finding("breaks", f"locks in {folder.absolute()} hold nobody off", change)
    return Finding("ok", "locks hold")


def _places(folder: Path, data: Path | None) -> dict[str, Path]:
    places = {"folder": folder.absolute(), "environment": Path(sys.prefix)}
    default = folder / "data" / "MyDataSet"
    return places | ({"data": (data or default).absolute()} if data or default.is_dir() else {})


def _profile(folder: Path) -> dict[str, Any]:
    file = folder / "config.yaml"
    try:
        raw = yaml.safe_load(regular(file).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ReidError(f"{file}: not a profile: {error}; name one with --profile") from error
    if not isinstance(raw, dict):
        raise ReidError(f"{file}: not a profile: it must be a table; profiles/slurm is one")
    return raw


def _setting(text: str, name: str) -> str:
    found = re.search(rf"^{name}\s*=\s*(.*?)\s*$", text, re.M)
    return found.group(1) if found else ""


def _answer(*command: str) -> str | None:
    """What a command prints; none when it is missing, fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
