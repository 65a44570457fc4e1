"""The config, loaded once; where each artefact stands; and the door through which rules call stages."""

import os
import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from naic_reid import artifacts, config as settings, machine, stages, stopped
from naic_reid.errors import ReidError

HOME = Path(workflow.basedir)
FROM_COMMAND_LINE = {"data", "truth", "gpus"}


# What Snakemake says to its experts. A failed step has said what was wrong, and the command that repeats it.
ASIDE = (
    "Assuming unrestricted shared filesystem",
    "Using shell: ",
    "Rules claiming more threads",
    "Provided resources: ",
    "Select jobs to execute",
    "Execute ",
    "Finished jobid: ",
    "RuleException:\nCalledProcessError",
    "Exiting because a job execution failed",
    "WorkflowError:\nAt least one job did not complete",
)


def for_users(record):
    """Whether a line of Snakemake's is one for who asked `naic-reid run`; its log file keeps them all."""
    return not record.getMessage().startswith(ASIDE)


if stopped.asked():
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(for_users)


def refuse(sentence):
    """End before any step with the sentence alone: no traceback, no line of a rule file."""
    if not (workflow.is_main_process and stopped.noted(sentence)):
        logger.error(sentence)
    raise SystemExit(1)


def tell_what_failed():
    """Say again what the failed steps said: with `keep-going` it may stand hours above the end."""
    failed = [
        (job.rule.name, Path(log))
        for job in workflow.scheduler.failed
        for log in job.log
    ]
    reason = stopped.told(failed)
    if not stopped.noted(reason):
        print(f"\n{reason}")


def load_config():
    """The one config file: the command line's, or the competition's where its folders are, or the toy."""
    files = workflow.overwrite_configfiles
    if len(files) > 1:
        refuse("name one --configfile: one file describes one result")
    unknown = set(workflow.config_settings.config) - FROM_COMMAND_LINE
    if unknown:
        refuse(
            f"--config {', '.join(sorted(unknown))}: only data, truth and gpus are set there; settings that "
            "change the answer stand in the config file"
        )
    real = HOME / "configs" / "naic2020.yaml"
    toy = HOME / "configs" / "toy.yaml"
    return settings.load(Path(files[0]) if files else real if DATA.is_dir() else toy)


DATA = Path(config.get("data", "data/MyDataSet"))
try:
    CONFIG = load_config()
except ReidError as error:
    refuse(str(error))
if CONFIG.toy:
    DATA = Path("results/toy/MyDataSet")
TRUTH = (
    [config["truth"]]
    if "truth" in config
    else ["results/toy/truth.csv"] if CONFIG.toy else []
)
GPUS = int(config.get("gpus", len(machine.gpus())))
if GPUS and "gpu" in workflow.global_resources.keys():
    # The profile's limit is for every machine; more jobs than this one has GPUs would only wait for one.
    limit = workflow.global_resources["gpu"].value
    workflow.register_resource("gpu", min(GPUS, limit))

# Where each artefact stands. The package knows formats; only this table knows places.
TRAIN_SURVEY = "results/survey/train.tsv"
TEST_SURVEY = "results/survey/test.tsv"
SOURCE_SURVEYS = [
    f"results/survey/sources/{source.name}.tsv"
    for source in CONFIG.collect.sources
    if not source.listed
]
SET_SURVEY = "results/survey/tests/{domain}.tsv"
UNLABELLED_SURVEY = "results/survey/unlabelled/{model}.tsv"
TOY_TRUTH = "results/toy/truth.csv"
COLLECTED = "results/collect/images.tsv"
DEDUPED = "results/dedupe/images.tsv"
TRAINING = "results/holdout/train.tsv"
PSEUDO_LABELLED = "results/pseudo_label/images.tsv"
MEANS = "results/split/means.tsv"
TEST_LIST = "results/tests/{role}_{domain}.tsv"
CHECKPOINT = "results/train/{model}/epoch_{epoch}.pt"
HISTORY = "results/train/{model}/history.jsonl"
EXTRACTED = "results/extract/{model}/epoch_{epoch}/{role}_{domain}.npz"
FEATURES = (
    EXTRACTED.replace("extract", "query_expansion")
    if CONFIG.query_expansion
    else EXTRACTED
)
NEIGHBOURS = "results/search/{model}/epoch_{epoch}/{domain}.npz"
JACCARD = "results/rerank/{model}/epoch_{epoch}/{domain}.npz"
RANKING = "results/fuse/{domain}.npz"
SUBMISSION = "results/submission.json"
RECORD = "results/submission.record.json"
SCORES = "results/evaluate/{domain}.json"
HEADS = "results/evaluate/{domain}.npz"
CARD = "results/card/card.json"
SCORE_CARD = "results/card/card.txt"
PAGE = "results/report/index.html"
PAGE_RECORD = "results/report/index.record.json"

SHARDS = {step: num for step, num in CONFIG.shards if num > 1}

UNLABELLED = {
    name: words.images
    for name, model in CONFIG.models.items()
    if (words := CONFIG.train.adapted(model.recipe).unlabelled)
}  # model → folder of further images

# With pseudo-labels, all models are trained twice: the first time under this name, for `pseudo_label` to ask.
FIRST = "first/"


wildcard_constraints:
    model=(f"({FIRST})?" if CONFIG.pseudo_label else "")
    + f"({'|'.join(CONFIG.models)})",
    epoch="|".join(map(str, CONFIG.ensemble.epochs)),
    role="query|gallery|multi_query",
    domain="|".join(CONFIG.domains),
    shard="[0-9]+",


def image_list(role, domain):
    """The list of a role's images in a domain."""
    labelled = "tests" if domain in CONFIG.tests else "split"
    stage = "holdout" if domain == settings.HOLDOUT else labelled
    stage = "cut" if domain in CONFIG.cut else stage
    return f"results/{stage}/{role}_{domain}.tsv"


def members(pattern, **known):
    """A pattern's files over the ensemble, in the order that `fuse` expects: models, then their epochs."""
    known = {"role": "{role}", "domain": "{domain}"} | known
    return [
        pattern.format(model=model, epoch=epoch, **known)
        for model in CONFIG.models
        for epoch in CONFIG.ensemble.epochs
    ]


def shard_of(pattern, step):
    """Where a job of the step writes: as the table says or, with shards, beside it, under its number."""
    if step not in SHARDS:
        return pattern
    folder, name = pattern.rsplit("/", 1)
    stem, suffix = name.rsplit(".", 1)
    return f"{folder}/parts/{stem}/{{shard}}-{SHARDS[step]}.{suffix}"


def artefact(pattern, step):
    """What a job of the step writes: the artefact or, with shards, a part of it that `gather` takes."""
    return temp(shard_of(pattern, step)) if step in SHARDS else pattern


def shipped(path):
    """A file that comes with the project, called the same however deep the working folder lies."""
    return path if Path.cwd() == HOME else str(HOME / path)


def scored_domains():
    """The domains whose answers are known."""
    return [
        domain for domain in CONFIG.domains if TRUTH or domain not in CONFIG.competition
    ]


def door(stage):
    """A rule's params: the settings its stage depends on, as JSON, and the files as options.

    Snakemake reruns a rule when `settings` differs. `files` is computed from input and output and so is
    left out of that comparison: places and threads never rerun anything.
    """
    signature = stages.signature(stage)

    def chosen(wildcards):
        keys = {
            key: getattr(wildcards, key).removeprefix(FIRST) for key in signature.keys
        }
        return artifacts.canonical(
            stages.values(CONFIG, stage, keys) | {"revision": signature.revision}
        )

    def files(wildcards, input, output, threads, resources):
        words = []
        for name in signature.paths:
            given = input[name] if name in input.keys() else output[name]
            for path in [given] if isinstance(given, str) else given:
                words += ["--" + name.replace("_", "-"), str(path)]
        for name in signature.places:
            words += [f"--{name}", str(DATA if name == "data" else name)]
        for name in ("workers", "threads"):
            if name in signature.speed:
                words += [f"--{name}", str(resources.get(name, threads))]
        if "shard" in wildcards.keys():
            words += ["--shard", f"{wildcards.shard}/{SHARDS[stage]}"]
        if "cache" in signature.speed:
            words += ["--cache", f"scratch/{stage}.sqlite"]
        return shlex.join(words)

    asks = (
        {"settings": chosen} if signature.settings else {"revision": signature.revision}
    )
    return asks | {"files": files, "start": start}


def start(wildcards, resources):
    """How a step's command begins: alone, on GPUs of its own, or as one process for each GPU.

    Where a profile gives `mpi`, that starts one torchrun on each node. Slurm hands out GPUs by itself. Lines of
    jobs that run side by side are told apart by the job's name.
    """
    job = " ".join(wildcards)
    name = f"NAIC_REID_JOB={shlex.quote(job)} " if job else ""
    named = name and f"env {name}"
    if "mpi" in resources.keys():
        return (
            # On other nodes there is no Snakemake to watch.
            f"{resources.mpi} env -u NAIC_REID_WORKFLOW {name}torchrun --nnodes={resources.nodes} --nproc-per-node=gpu "
            "--rdzv-backend=c10d --rdzv-id=$SLURM_JOB_ID --rdzv-endpoint=$(hostname):29500 -m naic_reid"
        )
    number = resources.get("gpu", 0)
    alone = f"naic-reid on_gpu {number} " if number and not workflow.remote_exec else ""
    if number > 1:
        return f"{named}{alone}torchrun --standalone --nproc-per-node={number} -m naic_reid"
    return f"{named}{alone}naic-reid"


# Output goes to the terminal and to the log, which Snakemake empties before each attempt.
# Slurm asks all processes of a job to end at once: the shell and tee wait for the stage's last words.
# Where the log's writer ends first (its disk is full, or it was killed), the stage cannot say so, and Snakemake
# names a number.
TO_LOG = (
    "2>&1 | (trap '' INT TERM; exec tee -a {log:q}) || {{ ended=(${{PIPESTATUS[@]}}); [ ${{ended[1]}} = 0 ] || "
    "echo {rule}: what writes {log:q} ended with status ${{ended[1]}}: run again >&2; exit $((ended[0] | ended[1])); }}"
)
RUN = f"trap : TERM; {{params.start}} {{rule}} --settings {{params.settings:q}} {{params.files}} {TO_LOG}"
RUN_PLAIN = f"trap : TERM; {{params.start}} {{rule}} {{params.files}} {TO_LOG}"


def needs(megabytes, minutes, per_megabyte=0):
    """A rule's memory, a base and so much for each MB of input, and its time: both grow with the attempt."""

    def mem_mb(wildcards, input, attempt):
        size = sum(os.path.getsize(path) for path in input) if per_megabyte else 0
        return int((megabytes + per_megabyte * size / 1e6) * attempt)

    def runtime(wildcards, attempt):
        return minutes * attempt

    return {"mem_mb": mem_mb, "runtime": runtime}


def agree_with_stages():
    """Refuse a rule whose file names and its stage's parameters differ, in either direction."""
    for rule in workflow.rules:
        if rule.name not in stages.STAGES:
            continue
        named = set(rule.input.keys()) | set(rule.output.keys())
        expected = set(stages.signature(rule.name).paths)
        if named != expected:
            raise WorkflowError(
                f"rule {rule.name} and its stage disagree on {', '.join(sorted(named ^ expected))}"
            )
