"""What is looked at before Snakemake decides what there is to do; it would look only at the steps it runs."""

import atexit
import fcntl
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

from naic_reid import lineage, preflight
from naic_reid.data import changes, unlabelled
from naic_reid.stages import survey


def alone_in_this_folder():
    """Hold this folder until this Snakemake ends, however it ends, and clear a dead one's lock."""
    marker = Path(".snakemake/running")
    marker.parent.mkdir(exist_ok=True)
    handle = marker.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        refuse(
            f"another Snakemake is at work in this folder ({handle.read()}): wait or stop it"
        )
    handle.truncate(0)
    handle.write(f"host {socket.gethostname()}, process {os.getpid()}")
    handle.flush()
    dead = list(Path(".snakemake/locks").glob("*"))
    for lock in dead:
        lock.unlink()
    if dead:
        logger.info("Cleared the lock of a Snakemake that was killed.")
    return handle


def let_earlier_jobs_end():
    """Wait for the Slurm jobs of a Snakemake that was killed: they and ours would write the same files.

    Those in the queue are taken back. Those at work go on, and what they finish counts.
    """
    if not Path(".snakemake/slurm_logs").is_dir():
        return
    fields = "JobID:32,State:32,StdOut:4096"
    ours = f" {Path('.snakemake/slurm_logs').resolve()}/"
    told = set()
    while True:
        asked = subprocess.run(
            ["squeue", "--me", "--noheader", "-O", fields],
            capture_output=True,
            text=True,
        )
        if asked.returncode:
            refuse(
                f"Slurm does not answer ({asked.stderr.strip()}), and jobs of this folder may be at work: run "
                "again when it does, or delete .snakemake/slurm_logs when there are none"
            )
        jobs = {
            tuple(line.split()[:2])
            for line in asked.stdout.splitlines()
            if ours in line
        }
        waiting = [job for job, state in jobs if state == "PENDING"]
        if waiting:
            subprocess.run(["scancel", "--state=PENDING", *waiting], check=True)
        if not jobs:
            return
        if told != jobs:
            told = jobs
            named = ", ".join(f"{job} {state.lower()}" for job, state in sorted(jobs))
            logger.info(
                f"Waits for Slurm jobs of a Snakemake that was killed ({named}); to run their steps "
                "again instead, scancel them."
            )
        time.sleep(5)


SURVEYED = (
    {}
)  # table of the survey → where it was written, when the data is looked at here
READINGS = {}  # step → the images it read, in the process that the user started
# workflow.dryrun would say no until the rules are read.
DRY_RUN = workflow.output_settings.dryrun


def in_a_sentence(look, *arguments, **options):
    """What the function gives; an error that the user can mend ends all, without a traceback."""
    try:
        return look(*arguments, **options)
    except ReidError as error:
        refuse(str(error))


def look_at_data():
    """Write down what the data folder holds, where that has changed: rules read this, not the folder.

    A dry run writes it elsewhere. Snakemake then sees another input, which runs again what a change would.
    """
    place = Path()
    if DRY_RUN:
        elsewhere = tempfile.TemporaryDirectory(prefix="naic-reid-")
        atexit.register(elsewhere.cleanup)
        place = Path(elsewhere.name)
    sets = [SET_SURVEY.format(domain=domain) for domain in CONFIG.tests]
    try:
        survey.run(
            CONFIG.collect,
            CONFIG.split,
            CONFIG.tests,
            data=DATA,
            train=place / TRAIN_SURVEY,
            test=[place / TEST_SURVEY] if CONFIG.split else [],
            sources=[place / path for path in SOURCE_SURVEYS],
            sets=[place / path for path in sets],
        )
    except ReidError as error:
        refuse(
            f"{error}\n(the data folder is {DATA}; --data or --config data=… names another)"
        )
    for model, folder in UNLABELLED.items():
        table = place / UNLABELLED_SURVEY.format(model=model)
        in_a_sentence(unlabelled.survey, DATA, folder, table)
        sets.append(UNLABELLED_SURVEY.format(model=model))
    test = [TEST_SURVEY] if CONFIG.split else []
    for path in [TRAIN_SURVEY, *test, *SOURCE_SURVEYS, *sets]:
        if not same_content(path, place / path):
            SURVEYED[path] = str(place / path)
        else:
            SURVEYED[path] = path


def look_at_batches():
    """Refuse a batch that can never be filled, and a network that will not be extracted from, before lists
    to train on are made."""
    if not Path(TRAINING).exists():
        laid_out = [
            source.name for source in CONFIG.collect.sources if not source.listed
        ]
        places = map(Path, map(surveyed, SOURCE_SURVEYS))
        surveys = dict(zip(laid_out, places))
        in_a_sentence(preflight.batches_fit, CONFIG, DATA, surveys)
        in_a_sentence(preflight.scales_fit, CONFIG)


def surveyed(path):
    """Where rules read a table of the survey; elsewhere in a dry run that found something else."""
    return SURVEYED.get(path, path)


def same_content(one, other):
    """Whether the first file is there and holds the other's bytes."""
    return Path(one).is_file() and Path(one).read_bytes() == Path(other).read_bytes()


def look_at_results():
    """The submission's and the card's files that do not, or no longer, fit their record: to be made again."""
    again = set()
    for seal in SEALED:
        if fault := seal.fault():
            if not DRY_RUN:
                aside = in_a_sentence(seal.set_aside)
                fault += f" (now {', '.join(map(str, aside))})"
        elif other := in_a_sentence(seal.outdated):
            fault = f"{seal.file}: was made from another {other[0]}"
        if fault:
            logger.warning(f"{fault}: it is made again.")
            again.add(str(seal.file))
    return again


def look_at_images():
    """The tables of steps that read images which have changed since: to be made again."""
    again = set()
    for step, reading in READINGS.items():
        try:
            changed = reading.changed(DATA, digests_by(step), remember=not DRY_RUN)
        except ReidError as error:
            logger.warning(f"{error}")
            again.add(str(reading.tables[0]))
            continue
        if changed:
            shown = ", ".join(changed[:5]) + (" …" if len(changed) > 5 else "")
            logger.warning(
                f"{len(changed)} images are not what {step.partition(' ')[0]} read ({shown}): it runs again, and what "
                "depends on them."
            )
            again.add(str(reading.tables[0]))
    return again


def digests_by(step):
    """Reads images as the step does, and remembers for it what it saw; a dry run remembers nothing."""

    def digests(names):
        # With OpenCV, which nothing else here needs.
        from naic_reid.data.looks import looks

        cached = step in ("collect", "split") and not DRY_RUN
        seen = looks(
            DATA,
            names,
            with_pixels=CONFIG.collect.decode or step != "collect",
            workers=os.cpu_count() or 1,
            cache=Path(f"scratch/{step}.sqlite") if cached else None,
        )
        return [known.digest.hex() for known in seen]

    return digests


def readings():
    """Step → what it reads of the data folder; drawn images are nobody's to change."""
    if CONFIG.toy:
        return {}
    found = {"collect": [COLLECTED]}
    if CONFIG.split:
        roles = ("query", "gallery")
        found["split"] = [
            image_list(role, domain) for domain in CONFIG.competition for role in roles
        ]
    for domain in CONFIG.tests:
        roles = ("query", "gallery", "multi_query")
        found[f"tests {domain}"] = [image_list(role, domain) for role in roles]
    return {
        step: changes.Reading(
            tuple(map(Path, tables)),
            Path(f"scratch/seen/{step.replace(' ', '_')}.npz"),
        )
        for step, tables in found.items()
    }


def tell_changed_settings(dag):
    """Name the settings for which steps run again; Snakemake says only that there are some."""
    lines = {}
    for job in dag.needrun_jobs():
        if not dag.reason(job).params_changed:
            continue
        known = preflight.recorded(workflow.persistence.params(job.output[0]))
        keys = {key: value.removeprefix(FIRST) for key, value in job.wildcards.items()}
        found = preflight.differences(
            known, json.loads(job.params.get("settings", "{}"))
        )
        for line in stages.in_the_config(found, keys) if known else ():
            lines.setdefault(line, []).append(job.rule.name)
    for line, rules in lines.items():
        logger.warning(f"{line}: runs {', '.join(dict.fromkeys(rules))} again")


def take_nothing_on_trust():
    """Refuse a graph in which a step would read a file of ours that no step of this graph makes.

    Where a rule cannot be resolved, Snakemake takes what stands in its output's place, whatever made it.
    """
    build = workflow._build_dag

    def checked():
        dag = workflow.dag
        dag.forcefiles.update(AGAIN)
        build()
        tell_changed_settings(dag)
        for job in dag.jobs:
            made = {file for files in dag.dependencies[job].values() for file in files}
            for file in sorted(set(job.input) - made):
                if Path(file).parts[0] == "results" and file not in SURVEYED.values():
                    refuse(
                        f"{file}: is there, but with this config no step makes it, and what made it is not known: "
                        f"{reason(dag, file)}"
                    )

    def reason(dag, file):
        """Why Snakemake could not plan to make the file."""
        try:
            jobs = workflow.async_run(dag.file2jobs(file))
            for job in jobs:
                dag.check_periodic_wildcards(job)
            absent = [
                path for job in jobs for path in job.input if not Path(path).exists()
            ]
            return (
                f"{absent[0]} is missing"
                if absent
                else "its rule cannot be resolved; delete it and run again to see why"
            )
        except Exception as error:
            return str(error)

    workflow._build_dag = checked


SUBMITTED = lineage.Seal(Path(SUBMISSION), Path(RECORD), "submission")
SEALED = [
    *([SUBMITTED] if CONFIG.split else []),
    lineage.Seal(Path(SCORE_CARD), Path(CARD), "table"),
    *([lineage.Seal(Path(PAGE), Path(PAGE_RECORD), "page")] if CONFIG.report else []),
]

if workflow.is_main_process:
    in_a_sentence(
        preflight.folders_stand,
        map(Path, ("results", "logs", "scratch", ".snakemake")),
        Path("results/toy"),
    )
    GIVEN = in_a_sentence(
        preflight.given,
        CONFIG,
        TRUTH if not CONFIG.toy or "truth" in config else [],
        HOME,
        Path("scratch/weights"),
        DATA,
        fetch=not DRY_RUN,
    )
    if not DRY_RUN:
        ALONE = alone_in_this_folder()
        let_earlier_jobs_end()
    if not CONFIG.toy:
        look_at_data()
        look_at_batches()
    READINGS = readings()
    AGAIN = look_at_results() | look_at_images()
    take_nothing_on_trust()
# Jobs end with the Snakemake that started them, even when it is killed outright.
os.environ["NAIC_REID_WORKFLOW"] = str(os.getpid())
# No step reads again what another has read, or wrote, only to know its digest.
os.environ["NAIC_REID_DIGESTS"] = os.path.abspath("scratch/digests")
# Slurm's warning before the time is up goes to every process of a job; what starts from here does not die
# of it, and training, which listens, saves.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
