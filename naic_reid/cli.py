"""The command-line door: `naic-reid STAGE …`, built from each stage's own signature.

    naic-reid --help                  the stages, in the order of the walk, and the tools beside it
    naic-reid rerank --help           what one stage reads, writes and depends on
    naic-reid rerank --config configs/naic2020.yaml --domain green --neighbours … --jaccard …

Settings come from `--config FILE` (with the options that pick table entries, e.g. `--model`), or as
JSON from `--settings`, which is how the workflow hands over exactly what it compares between runs.
"""

import argparse
import json
import logging
import os
import resource
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from naic_reid import __version__, config, stages, tools
from naic_reid.errors import ReidError
from naic_reid.files import dangling


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 2 a mistake that the user can mend."""
    logging.basicConfig(format=_line_format(), datefmt="%H:%M:%S", level=logging.INFO)
    given = sys.argv[1:] if arguments is None else arguments
    _stop_with(os.environ.get("NAIC_REID_WORKFLOW"))
    try:
        return _run(given)
    except ReidError as error:
        print(f"naic-reid: error: {error}{_again(given)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("naic-reid: stopped; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if _out_of_memory(error):
            hint = "out of memory: free some, or give the step less to do at once"
            print(f"naic-reid: error: {hint}{_again(given)}", file=sys.stderr)
            return 1
        if reason := _reason(error):
            print(f"naic-reid: error: {reason}{_again(given)}", file=sys.stderr)
            return 2
        # A bug, or something nobody foresaw: all of it is shown.
        logging.exception("naic-reid: this is not a mistake of yours that was foreseen:%s", _again(given))
        return 1


def _line_format() -> str:
    """A log's lines: the time, and what the workflow calls the job, for others run beside it."""
    job = os.environ.get("NAIC_REID_JOB", "").replace("%", "%%")
    return f"%(asctime)s {job and f'[{job}] '}%(message)s"


def _out_of_memory(error: Exception) -> bool:
    """Whether memory was what lacked; torch and OpenCV say so in errors of their own."""
    words = (
        *("can't allocate memory", "annot allocate memory", "out of memory", "Insufficient memory"),
        *("can't start new thread", "bad_alloc", "failed to map segment"),
    )
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def _reason(error: Exception) -> str:
    """What lies outside the project and the user can see to, in a sentence; empty: it is none of that."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        path = Path(os.fsdecode(error.filename))
        reason = "a symbolic link that leads nowhere" if dangling(path) else error.strerror
        return f"{path}: {reason}: mend that, and run again"
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop from "):  # pathlib's words
        return f"{str(error).removeprefix('Symlink loop from ')}: symbolic links lead in a circle: mend that"
    words = (
        *("Torch not compiled with CUDA", "No CUDA GPUs are available", "no NVIDIA driver", "device ordinal"),
        *("Expected one of cpu, cuda", "Invalid device string"),
    )
    if any(word in str(error) for word in words):
        return "--device: there is no such device here; PyTorch must see it: cpu, cuda, cuda:1"
    return ""


def _require_address_space(name: str) -> None:
    """Refuse a limit under which libraries cannot be loaded: they abort or wait where memory ends."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if name in stages.WITHOUT_TORCH or limit == resource.RLIM_INFINITY or limit >= _ADDRESS_SPACE:
        return
    raise ReidError(
        f"only {limit >> 20:,} MB of address space are allowed (ulimit -v), and libraries reserve "
        f"{_ADDRESS_SPACE >> 20:,} before any work: lift the limit (ulimit -v unlimited)"
    )


def _stop_with(workflow: str | None) -> None:
    """Stop, as if asked to, within a second of the end of the workflow process that started this command.

    A Snakemake that is killed outright leaves its jobs running; they would compute beside those of the
    next run.
    """
    if not workflow:
        return

    def watch(pid: int) -> None:
        while psutil.pid_exists(pid):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, args=[int(workflow)], daemon=True).start()


def _again(given: list[str]) -> str:
    """The one command that repeats a failed stage, when it was called by the workflow."""
    return f"\nrepeat this step with: {shlex.join(['naic-reid', *given])}" if "--settings" in given else ""


def _run(given: list[str]) -> int:
    name = given[0] if given else "--help"
    if name == "rerank" and any(word.endswith(".npy") for word in given[1:]):
        name = "rank"  # features alone, none of the walk's artefacts: the same step, from end to end
    if name in stages.STAGES:
        return _run_stage(name, given[1:])
    if name in tools.TOOLS:
        module = import_module(f"naic_reid.tools.{name}")
        parser = argparse.ArgumentParser(prog=f"naic-reid {name}", description=module.__doc__, **_AS_WRITTEN)
        module.arguments(parser)
        return int(module.run(parser.parse_args(given[1:])))
    _overview().parse_args(given or ["--help"])
    return 0


def _overview() -> argparse.ArgumentParser:
    """The parser of the bare command: it only helps, and refuses unknown names with the known ones."""
    width = max(map(len, [*stages.STAGES, *tools.TOOLS])) + 2
    lines = ["stages, in the order of the walk:"]
    lines += [f"  {name:<{width}}{purpose}" for name, purpose in stages.STAGES.items()]
    lines += ["", "tools:"] + [f"  {name:<{width}}{purpose}" for name, purpose in tools.TOOLS.items()]
    lines += ["", "naic-reid NAME --help says what one of them takes."]
    parser = argparse.ArgumentParser(
        prog="naic-reid",
        usage="naic-reid [--help] [--version] [--describe-config] NAME …",
        description="Person re-identification: from label lists to a competition submission.",
        epilog="\n".join(lines),
        **_AS_WRITTEN,
    )
    parser.add_argument("--version", action="version", version=f"naic-reid {__version__}")
    parser.add_argument(
        "--describe-config", action=_Describe, nargs=0, help="print every setting and its meaning"
    )
    parser.add_argument(
        "name", metavar="NAME", choices=[*stages.STAGES, *tools.TOOLS], help="a stage or a tool"
    )
    return parser


_ADDRESS_SPACE = 6 << 30  # bytes; PyTorch, NumPy's products and threads reserve 4 to 5 of these

_AS_WRITTEN: dict[str, Any] = {
    "formatter_class": argparse.RawDescriptionHelpFormatter,
    "allow_abbrev": False,
}


class _Describe(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(config.describe())
        parser.exit()


def _run_stage(name: str, given: list[str]) -> int:
    from naic_reid import lineage  # with NumPy and SciPy, which `--help` does not wait for

    found = stages.signature(name)
    parser = _stage_parser(name, found)
    options = parser.parse_args(given)
    passed: dict[str, Any] = {
        key: getattr(options, key) for key in (*found.paths, *found.places, *found.speed)
    }
    settings = _settings(name, found, options, parser)
    _require_address_space(name)
    given_files = [passed[key] for key in found.paths]
    files = [path for given in given_files for path in (given if isinstance(given, list) else [given])]
    _require_distinct({key: passed[key] for key in found.paths})
    lineage.refuse_stale(files, name, stages.revision)
    import_module(f"naic_reid.stages.{name}").run(**settings, **passed)
    return 0


def _require_distinct(given: Mapping[str, Any]) -> None:
    """Refuse two options that name one file: a step would write what it reads."""
    owner: dict[str, str] = {}
    for key, paths in given.items():
        option = f"--{key.replace('_', '-')}"
        for path in paths if isinstance(paths, list) else [paths]:
            other = owner.setdefault(os.path.realpath(path), option)
            if other != option:
                raise ReidError(f"{option}: {path} is the file of {other}, too: name another")


def _stage_parser(name: str, found: stages.Signature) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"naic-reid {name}", description=found.purpose, **_AS_WRITTEN)
    if found.settings:
        group = parser.add_argument_group("settings", "one of:")
        group.add_argument(
            "--config", type=Path, metavar="FILE", help=f"takes {', '.join(found.settings)} from it"
        )
        group.add_argument("--settings", metavar="JSON", help="the same as JSON, as the workflow does")
        for key in found.keys:
            group.add_argument(f"--{key}", metavar="NAME", help="which table entry, with --config")
    files = parser.add_argument_group("files")
    for key, hint in found.paths.items():
        many = hint == list[Path]
        files.add_argument(
            f"--{key.replace('_', '-')}",
            type=Path,
            metavar="PATH",
            help="may be repeated, in order" if many else None,
            **({"action": "append", "default": []} if many else {"required": True}),
        )
    for key in found.places:
        files.add_argument(f"--{key}", type=Path, metavar="FOLDER", required=True)
    speed = parser.add_argument_group("speed", "these never change the result")
    for key, (hint, default) in found.speed.items():
        speed.add_argument(f"--{key.replace('_', '-')}", **_knob(hint, default))
    return parser


def _knob(hint: Any, default: Any) -> dict[str, Any]:
    """How a speed knob is read: by the type of its default, or a path where it may be none."""
    if isinstance(default, bool):
        return {"action": argparse.BooleanOptionalAction, "default": default}
    kind = Path if default is None or hint is Path else type(default)
    told = {"default": default, "metavar": kind.__name__.upper(), "help": f"default: {default}"}
    return {"type": _not_negative if kind is int else kind, **told}


def _not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is less than 0")
    return number


def _settings(
    name: str, found: stages.Signature, options: argparse.Namespace, parser: argparse.ArgumentParser
) -> dict[str, Any]:
    """The stage's settings from `--settings` or from `--config`."""
    if not found.settings:
        return {}
    if (options.config is None) == (options.settings is None):
        parser.error("give either --config FILE or --settings JSON")
    if options.settings is not None:
        return _from_json(name, found, options.settings)
    loaded = config.load(options.config)
    keys = {key: getattr(options, key) for key in found.keys}
    for setting in found.settings:
        if setting in stages.TABLES:
            table, key = stages.TABLES[setting]
            known = getattr(loaded, table)
            if keys[key] not in known:
                wrong = f"unknown {key} {keys[key]!r}" if keys[key] else f"--{key} is missing"
                raise ReidError(f"{options.config}: {wrong}; {table} has: {', '.join(known)}")
    return stages.values(loaded, name, keys)


def _from_json(name: str, found: stages.Signature, text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ReidError(f"--settings: not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ReidError("--settings: it must be a JSON object of sections")
    revision = raw.pop("revision", found.revision)
    if revision != found.revision:
        raise ReidError(
            f"--settings: made for revision {revision} of {name}, but this is revision {found.revision}: "
            "run snakemake again, which writes the new command"
        )
    if raw.keys() != found.settings.keys():
        raise ReidError(
            f"--settings: {name} takes {', '.join(found.settings)}, not {', '.join(raw) or 'nothing'}"
        )
    return config.typed(found.settings, raw, "--settings")
