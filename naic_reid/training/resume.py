"""Resuming: the folder of a training run, its saved state, and signals that ask it to stop.

A run's folder is named after everything that decides its trajectory, so a changed setting is another
folder and never a mixture. Inside: `settings.json`, `state.pt` (replaced in one step), and whatever
the stage writes beside them. A state says itself which settings it belongs to. The folder is locked
while a process trains in it.
"""

import fcntl
import json
import os
import signal
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from types import FrameType
from typing import IO, Any

import torch

from naic_reid.errors import ReidError
from naic_reid.files import json_in, regular, require_sound, whole

PATIENCE = 10.0
"""Seconds: a trainer whose workflow was killed saves before it lets go of its folder."""


def folder_of(parent: Path, name: str, settings: str) -> Path:
    """Where the run with these settings lives: the name, and the settings' digest."""
    return parent / f"{name}-{blake2b(settings.encode(), digest_size=6).hexdigest()}"


@contextmanager
def run_folder(parent: Path, name: str, settings: str) -> Iterator[Path]:
    """The locked folder of the run with these settings, made when it is new.

    Args:
        parent: of all runs' folders.
        name: what people call the run; the settings' digest is added.
        settings: canonical JSON of all that decides the result.

    Raises:
        ReidError: another process trains here, or the folder belongs to other settings.
    """
    folder = folder_of(parent, name, settings)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        if not _locked(lock):
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise ReidError(
                f"{folder}: {holder} trains here already: wait for it, or stop it; then run again"
            )
        lock.truncate(0)
        job = os.environ.get("SLURM_JOB_ID")  # what scancel takes
        lock.write(
            f"process {os.getpid()} on {socket.gethostname()}" + (f" in Slurm job {job}" if job else "")
        )
        lock.flush()
        _agree(folder / "settings.json", settings)
        yield folder


def _locked(lock: IO[str]) -> bool:
    """Whether the lock could be had, soon at least."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.2)
        else:
            return True


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a state in one step: a reader finds the old one or the new one."""
    with whole(path) as unfinished:
        torch.save(state, unfinished)


def load(path: Path, settings: str) -> dict[str, Any] | None:
    """The state that was saved, on the CPU; none when nothing was.

    Args:
        path: the file.
        settings: canonical JSON of all that decides the result, as the state's own `settings` must be.

    Raises:
        ReidError: the file is damaged, or of a run with other settings; what differs is named.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            require_sound(archive)
        state: dict[str, Any] = torch.load(regular(path), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads to
        raise ReidError(
            f"{path}: not a whole state of training; delete {path.parent} to begin anew"
        ) from error
    _compare(path, json.loads(state.get("settings", "{}")), settings)
    return state


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list to which the first signal that asks to stop is added; a second one has its usual effect.

    SIGTERM, SIGINT, and SIGUSR1, which clusters send before the time is up. Outside the main thread
    nothing is caught.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, _: FrameType | None) -> None:
        asked.append(number)
        restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        restore()


def _agree(path: Path, settings: str) -> None:
    if not path.exists():
        with whole(path) as unfinished:
            unfinished.write_text(settings + "\n", encoding="utf-8")
        return
    try:
        found = json_in(path)
    except ValueError as error:
        raise ReidError(f"{path}: not JSON; delete {path.parent} to begin anew") from error
    _compare(path, found, settings)


def _compare(path: Path, found: Any, settings: str) -> None:
    different = sorted(_differences(found, json.loads(settings)))
    if different:
        raise ReidError(
            f"{path}: this run was begun with other settings ({', '.join(different)}); "
            f"delete {path.parent} to begin anew"
        )


def _differences(a: Any, b: Any, place: str = "") -> list[str]:
    """Dotted places at which two JSON values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = a.keys() | b.keys()
        return [d for key in keys for d in _differences(a.get(key), b.get(key), f"{place}.{key}".strip("."))]
    return [] if a == b else [place or "(whole)"]
