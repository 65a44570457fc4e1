"""All faults, and the table of them: `python -m tests.faults` (10 minutes on two cores).

python -m tests.faults --kills 40 --flips 2000      more of what is random
python -m tests.faults --seed 7                     other moments, other bits
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.faults import artefacts, configs, images, kills, lists, system, weights, workflow
from tests.faults.case import Case, Outcome, tried
from tests.faults.world import SUBMISSION, World, one_model
from tests.walk import HOME, Walk

CASES: list[Case] = [
    *images.CASES, *lists.CASES, *configs.CASES, *artefacts.CASES, *weights.CASES, *system.CASES
]  # fmt: skip
TABLE = HOME / "docs" / "faults.md"
GROUPS = ("Images", "Lists", "Config", "Artefacts", "Weights", "System")
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
    return found + [("System", name, plant(walk)) for name, plant in WORKFLOW.items()]


def text(found: list[Row], numbers: list[str]) -> str:
    lines = [HEAD, *numbers]
    for group in GROUPS:
        lines += ["", f"## {group}", "", "| fault | what happens | what the user reads | on disk |"]
        lines += ["|---|---|---|---|"]
        for _, name, outcome in (row for row in found if row[0] == group):
            lines.append("| " + " | ".join(map(_cell, (name, *row_of(outcome)))) + " |")
    return "\n".join(lines) + "\n"


def row_of(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.happens, outcome.message.removeprefix("naic-reid: error: "), outcome.state


def _cell(content: str) -> str:
    shown = content if len(content) <= 600 else f"{content[:600]}…"
    return shown.replace("|", "\\|").replace("\n", "<br>").replace("<html>", "&lt;html&gt;")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of Snakemake, its jobs, or both (default 20)")
    parser.add_argument("--stage-kills", type=int, default=40, help="of stages run alone (default 40)")
    parser.add_argument("--flips", type=int, default=500, help="bits in each kind of artefact (default 500)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults") as name:
        folder = Path(name)
        world = World.made(folder / "world")
        walk = Walk(folder / "walk", one_model())
        walk.run()
        found = rows(world, walk)
        print(f"{len(found)} faults behaved as the table will say", flush=True)
        by_flips = artefacts.flip_bits(world, folder, options.flips, options.seed)
        print(f"{by_flips} flipped bits: refused by name or without meaning", flush=True)
        alone = kills.kill_stages(
            world.commands, folder / "alone", options.stage_kills, options.seed, longest=4.0
        )
        assert (folder / "alone" / SUBMISSION).read_bytes() == world.path(SUBMISSION).read_bytes()
        print(f"stages alone: {alone}", flush=True)
        killed = kills.kill_workflow(
            Walk(folder / "killed", one_model()), walk.submission, options.kills, options.seed, longest=45.0
        )
        print(f"workflow: {killed}", flush=True)
        artefacts.Others.forget()
    numbers = [
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
    TABLE.write_text(text(found, numbers), encoding="utf-8")
    print(f"wrote {TABLE} after {time.monotonic() - began:.0f} s")


def _killed(what: str, tally: kills.Tally, victim: str) -> list[str]:
    during = ", ".join(f"{stage} {times}" for stage, times in sorted(tally.during[victim].items()))
    return [f"| {what} | {sum(tally.during[victim].values())} | {during} |"]


if __name__ == "__main__":
    main()
