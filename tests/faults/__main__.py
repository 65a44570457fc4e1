"""All faults, and the table of them: `python -m tests.faults` (half an hour on two cores).

python -m tests.faults --kills 40 --flips 2000      more of what is random
python -m tests.faults --only-kills                 the table's rows stay as they are
python -m tests.faults --seed 7                     other moments, other bits
python -m tests.faults --rows 'Images: .*JPEG'      only these rows of the table, in a minute; the rest stays
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

from tests.faults import (
    artefacts,
    commands,
    configs,
    finished,
    images,
    kills,
    labelled,
    lists,
    system,
    training,
    truth,
    weights,
    workflow,
)
from tests.faults.case import Case, Outcome, tried
from tests.faults.world import SUBMISSION, World, one_model
from tests.walk import HOME, Walk

CASES: list[Case] = [
    *images.CASES, *lists.CASES, *labelled.CASES, *truth.CASES, *configs.CASES, *commands.CASES,
    *artefacts.CASES, *weights.CASES, *training.CASES, *system.CASES,
]  # fmt: skip
TABLE = HOME / "docs" / "faults.md"
GROUPS = (
    "Images", "Lists", "Labelled", "Truth", "Config", "Artefacts", "Weights", "Training", "Commands",
    "Finished folders", "System",
)  # fmt: skip
WORKFLOW = {
    "a second Snakemake on the same folder": workflow.second_snakemake,
    "a misspelt section, seen by Snakemake": workflow.misspelt_key,
    "an artefact from tomorrow in a finished walk": workflow.clock_put_back,
}
Row = tuple[str, str, Outcome]

HEAD = """\
# What happens when something goes wrong

Written by `python -m tests.faults`, which plants each fault in a finished small walk, runs the command that
meets it, and checks the exit status, the sentence, and what is on disk afterwards. `pytest tests/faults` runs
the same cases and fails when this table is no longer what happens. "Nothing changed" means that every
artefact under `results/` has the bytes it had before, and that no temporary file is left; under Snakemake
the outputs of a failed step are removed, as it always does before a step starts.

Exit status 2 is a mistake that the user can mend, said in one sentence; 1 is anything else.
"""


def rows(world: World, walk: Walk) -> list[Row]:
    found = [(case.group, case.name, tried(case, world)) for case in CASES]
    found += [(finished.GROUP, name, outcome) for name, outcome in finished.told(".")]
    return found + [("System", name, plant(walk)) for name, plant in WORKFLOW.items()]


def line_of(name: str, outcome: Outcome) -> str:
    """A row of the table."""
    return "| " + " | ".join(map(_cell, (name, *row_of(outcome)))) + " |"


def text(lines: dict[tuple[str, str], str], numbers: list[str]) -> str:
    """The whole document, of rows by group and name."""
    cases = [*((case.group, case.name) for case in CASES), *(("System", name) for name in WORKFLOW)]
    cases += [(finished.GROUP, story.name) for story in finished.STORIES]
    order = [(group, _cell(name)) for group, name in cases]
    found = [HEAD, *numbers]
    for group in GROUPS:
        found += ["", f"## {group}", "", "| fault | what happens | what the user reads | on disk |"]
        found += ["|---|---|---|---|"]
        found += [lines[place] for place in order if place[0] == group and place in lines]
    return "\n".join(found) + "\n"


def read(document: str) -> tuple[dict[tuple[str, str], str], list[str]]:
    """The rows of a document by group and name, and what it says of kills."""
    before, *parts = re.split(r"\n\n## (?!Kills)", document.removeprefix(HEAD))
    lines = {}
    for part in parts:
        group, _, table = part.partition("\n")
        for line in table.splitlines():
            name = re.match(r"\| ((?:[^|\\]|\\.)*) \|", line)
            if name:
                lines[group, name[1]] = line
    return lines, before.strip("\n").split("\n")


def refresh(pattern: str) -> None:
    """Plant the faults whose `group: name` matches, and put their rows into the table."""
    lines, numbers = read(TABLE.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="faults") as name:
        asked = [case for case in CASES if re.search(pattern, f"{case.group}: {case.name}")]
        world = World.made(Path(name) / "world") if asked else World(Path(), [])
        for case in asked:
            try:
                lines[case.group, _cell(case.name)] = line_of(case.name, tried(case, world))
                print(lines[case.group, _cell(case.name)], flush=True)
            except AssertionError as error:
                print(f"NOT AS PROMISED: {error}", flush=True)
        artefacts.Others.forget()
    for told, outcome in finished.told(pattern):
        lines[finished.GROUP, _cell(told)] = line_of(told, outcome)
        print(lines[finished.GROUP, _cell(told)], flush=True)
    TABLE.write_text(text(lines, numbers), encoding="utf-8")


def row_of(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.happens, outcome.message.removeprefix("naic-reid: error: "), outcome.state


def _cell(content: str) -> str:
    shown = content if len(content) <= 600 else f"{content[:600]}…"
    return shown.replace("|", "\\|").replace("\n", "<br>").replace("<html>", "&lt;html&gt;")


def kill(folder: Path, world: World, walk: Walk, options: argparse.Namespace) -> list[str]:
    """Kill stages and whole walks, flip bits; what the document says of it."""
    by_flips = artefacts.flip_bits(world, folder, options.flips, options.seed)
    print(f"{by_flips} flipped bits: refused by name or without meaning", flush=True)
    alone = kills.kill_stages(world.commands, folder / "alone", options.stage_kills, options.seed)
    assert (folder / "alone" / SUBMISSION).read_bytes() == world.path(SUBMISSION).read_bytes()
    print(f"stages alone: {alone}", flush=True)
    killed = kills.kill_workflow(
        Walk(folder / "killed", one_model()), walk.submission, options.kills, options.seed, longest=45.0
    )
    print(f"workflow: {killed}", flush=True)
    return [
        "## Kills",
        "",
        f"SIGKILL at seeded random moments, seed {options.seed}; after each, every file that stands under "
        "its final name was whole; at each end no temporary file was left, and the submission had the bytes "
        "of an undisturbed run.",
        "",
        "| killed | times | while at work |",
        "|---|---|---|",
        *(_killed("a stage, run alone", alone, "stage")),
        *(_killed("Snakemake alone", killed, "snakemake")),
        *(_killed("one of Snakemake's jobs", killed, "job")),
        *(_killed("Snakemake and all its jobs", killed, "session")),
        "",
        "Loaders' workers are threads of their stage, so there is none to kill by itself.",
        "",
        f"Single bits flipped in each of {len(artefacts.FILES)} kinds of artefact: {by_flips:,} in all, each "
        "refused by a sentence that names the file, or in a place that carries no meaning (a zip's dates).",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="of Snakemake, its jobs, or both (default 40)")
    parser.add_argument("--stage-kills", type=int, default=200, help="of stages run alone (default 200)")
    parser.add_argument("--flips", type=int, default=500, help="bits in each kind of artefact (default 500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", metavar="PATTERN", help="only faults whose 'Group: name' matches")
    parser.add_argument("--only-kills", action="store_true", help="only what is random; the rows stay")
    options = parser.parse_args()
    if options.rows is not None:
        refresh(options.rows)
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults") as name:
        folder = Path(name)
        world = World.made(folder / "world")
        walk = Walk(folder / "walk", one_model())
        walk.run()
        lines, _ = read(TABLE.read_text(encoding="utf-8"))
        if not options.only_kills:
            found = rows(world, walk)
            lines = {(group, _cell(name)): line_of(name, outcome) for group, name, outcome in found}
            print(f"{len(found)} faults behaved as the table will say", flush=True)
        numbers = kill(folder, world, walk, options)
        artefacts.Others.forget()
    TABLE.write_text(text(lines, numbers), encoding="utf-8")
    print(f"wrote {TABLE} after {time.monotonic() - began:.0f} s")


def _killed(what: str, tally: kills.Tally, victim: str) -> list[str]:
    during = ", ".join(f"{stage} {times}" for stage, times in sorted(tally.during[victim].items()))
    return [f"| {what} | {sum(tally.during[victim].values())} | {during} |"]


if __name__ == "__main__":
    main()
