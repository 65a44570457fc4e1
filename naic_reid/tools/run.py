"""Runs the whole workflow in any folder: from label lists or drawn images to submission and score card.

    naic-reid run                                             data/MyDataSet or, without it, a toy
    naic-reid run --config small --data FOLDER --truth FILE   your data, without a GPU
    naic-reid run --config small --show-config > mine.yaml    a config to change
    naic-reid run -- --dry-run                                what follows -- goes to Snakemake

Run it again after a failure or a change: only what failed or changed runs again.
"""

import argparse
import fcntl
import importlib.util
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from naic_reid import shipped, stopped, zoo
from naic_reid.errors import ReidError
from naic_reid.files import absolute, regular, whole

_DATA = Path("data/MyDataSet")
_DRY_RUN = frozenset({"--dry-run", "--dryrun", "-n", "-np", "-nq"})
_ONLY_LOOKS = _DRY_RUN | {"--unlock", "--list", "-l", "--summary", "-S", "--dag"}


_OPTIONS: dict[str, dict[str, Any]] = {
    "--config": {"metavar": "FILE", "help": "the settings: a file, or a shipped one's name (naic2020, quick, "
                 "small, toy); default naic2020 where the data is, else toy, which draws its own images"},
    "--zoo": {"metavar": "ROW", "help": "a row of the zoo, data/method/backbone, instead of --config, "
              "kept as INTO/zoo_….yaml, which may be changed"},
    "--data": {"metavar": "FOLDER", "type": Path, "help": f"label lists and images; default {_DATA}"},
    "--truth": {"metavar": "FILE", "type": Path, "help": "CSV of subset,name,pid,camid to score with"},
    "--into": {"metavar": "FOLDER", "type": Path, "default": Path(),
               "help": "where results/, logs/ and scratch/ go; default: the current folder"},
    "--cores": {"metavar": "N", "default": "all", "help": "processor cores to use; default all"},
    "--workflow-profile": {"metavar": "FOLDER", "default": "default",
                           "help": "how to run: a folder, or a shipped name (default, slurm)"},
    "--show-config": {"action": "store_true", "help": "print the settings that would run, and end"},
    "snakemake": {"nargs": "*", "metavar": "-- SNAKEMAKE ARGUMENTS", "help": "passed on as they are"},
}  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    for name, option in _OPTIONS.items():
        parser.add_argument(name, **option)


def run(options: argparse.Namespace) -> int:
    """Runs Snakemake to its end and prints the score card.

    Raises:
        ReidError: a named file is missing, Snakemake is not installed, another run holds the folder, or the
            workflow stopped before its end; the message says what stopped it.
    """
    data, truth = _existing("--data", options.data), _existing("--truth", options.truth)
    into = Path(os.path.realpath(options.into))
    if options.cores != "all" and not (options.cores.isdecimal() and int(options.cores)):
        raise ReidError(f"--cores: {options.cores!r} is neither a number from 1 nor all")
    if options.zoo:
        config, why = _of_zoo(options.zoo, into, options)
    else:
        config, why = _config(options.config, data or into / _DATA)
    if options.show_config:
        from naic_reid.config import text_of

        print(text_of(config), end="")
        return 0
    if importlib.util.find_spec("snakemake") is None:
        raise ReidError("run needs Snakemake, which is not installed: pip install 'naic-reid[workflow]'")
    print(f"naic-reid: runs {_short(config)}: {why}", flush=True)
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(shipped.HOME / "Snakefile"),
        "--configfile", str(config), "--cores", options.cores, "--quiet", "rules", "host",
        "--workflow-profile", str(shipped.named("profiles", options.workflow_profile)),
    ]  # fmt: skip
    given = [f"{name}={path}" for name, path in (("data", data), ("truth", truth)) if path]
    command += [*(["--config", *given] if given else []), *options.snakemake]
    with _a_look(into) if _DRY_RUN.intersection(options.snakemake) else _alone(into) as folder:
        reason = _waited(command, folder)
    if reason:
        raise ReidError(reason)
    if not _ONLY_LOOKS.intersection(options.snakemake):
        _tell(into, _makes(config, truth))
    return 0


def _existing(option: str, path: Path | None) -> Path | None:
    """The path made absolute (links stay), for the workflow may run in another folder; none stays none."""
    if path is not None and not path.exists():
        raise ReidError(f"{option}: {path} does not exist")
    return path and absolute(path)


def _config(given: str | None, data: Path) -> tuple[Path, str]:
    """The config that runs, and why."""
    if given is not None:
        return shipped.named("configs", given), "as --config asks"
    if data.is_dir():
        return shipped.named("configs", "naic2020"), f"the competition, for there is {_short(data)}"
    return shipped.named(
        "configs", "toy"
    ), f"generated images, for there is no {_short(data)} (--data names another)"


def _of_zoo(name: str, into: Path, options: argparse.Namespace) -> tuple[Path, str]:
    """The row's config as a file in the results' folder, made where there is none, and why it runs."""
    if options.config is not None:
        raise ReidError("give --config or --zoo, not both")
    row = zoo.row(name)
    path = into / f"zoo_{row.name.replace('/', '_')}.yaml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as unfinished:
            unfinished.write_text(zoo.written(row), encoding="utf-8")
    return path, f"the zoo's {row.name}, published {row.published}"


@contextmanager
def _a_look(into: Path) -> Iterator[Path]:
    """The folder as it is or, where there is none, an empty one that goes when the block ends."""
    if into.is_dir():
        yield into
    else:
        with tempfile.TemporaryDirectory() as empty:
            yield Path(empty)


@contextmanager
def _alone(into: Path) -> Iterator[Path]:
    """Holds the folder until the block ends, or this process does, however it ends."""
    lock = into / ".run.lock"
    try:
        into.mkdir(parents=True, exist_ok=True)
        handle = lock.open("a")
    except OSError as error:
        raise ReidError(
            f"--into: {into} cannot be written: {error.strerror or error}; name another folder"
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReidError(f"another run is at work in {into}; wait for it or stop it") from error
        yield into


def _waited(command: Sequence[str], into: Path) -> str:
    """Why Snakemake stopped before the end, or nothing. It outlives a closed terminal, and is told of an
    interrupt or an end."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # The steps are started as `naic-reid …`: of this very installation, whatever else is on the path.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    asked: list[int] = []
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", prefix="naic-reid-") as note:
        environment = os.environ | {"PATH": path, stopped.NOTE: note.name}
        with subprocess.Popen(command, cwd=into, env=environment) as process:

            def end(number: int, _: object) -> None:
                asked.append(number)
                if number == signal.SIGTERM:  # an interrupt reaches Snakemake too: only its answer is awaited
                    process.terminate()

            signal.signal(signal.SIGINT, end)
            signal.signal(signal.SIGTERM, end)
            status = process.wait()
        why = regular(Path(note.name)).read_text(encoding="utf-8")
    if not status:
        return ""
    if asked:
        return f"stopped before the end, as it was told to: {stopped.RESUME}"
    return why or f"stopped before the end, the cause stands above: mend it, {stopped.RESUME}"


def _makes(config: Path, truth: Path | None) -> tuple[bool, bool, bool]:
    """Whether a run of this config makes a card, a submission, a report; the folder may hold another's."""
    from naic_reid import config as settings

    read = settings.load(config)
    scored = bool(truth or read.toy or set(read.domains) - set(read.competition))
    return scored, read.split is not None, bool(read.report)


def _tell(into: Path, made: Sequence[bool]) -> None:
    """Print the score card, name submission and report, each once it was held against its record.

    What an earlier config left, or what was made from files that are others now, is not told as a result.
    """
    from naic_reid.lineage import Seal  # NumPy and SciPy, which no error above has to wait for

    results = into / "results"
    card = Seal(results / "card/card.txt", results / "card/card.json", "table")
    submission = Seal(results / "submission.json", results / "submission.record.json", "submission")
    page = Seal(results / "report/index.html", results / "report/index.record.json", "page")
    words = {submission: "submission", page: "report, for a browser"}
    for seal, makes in zip((card, submission, page), made, strict=True):
        if not (makes and seal.complete):
            continue
        if fault := seal.fault():
            raise ReidError(f"{fault}, while this run ended: repeat the same command, which makes it again")
        if other := seal.outdated():
            print(f"naic-reid: {_short(seal.file)} is not told: it was made from another {other[0]}")
        elif seal is card:
            print(f"\n{regular(card.file).read_text(encoding='utf-8')}", end="")
        else:
            print(f"naic-reid: the {words[seal]}: {_short(seal.file)}")


def _short(path: Path) -> str:
    """The path as a person in this folder would write it; a shipped file by its name there."""
    for folder in (Path.cwd(), shipped.HOME):
        if path.is_relative_to(folder):
            return str(path.relative_to(folder))
    return str(path)
