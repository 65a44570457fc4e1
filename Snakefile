"""The walk from label lists to the submission; `snakemake -j2 results/submission.json` takes it."""

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/common.smk"
include: "workflow/rules/lists.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/retrieve.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        SUBMISSION,
        SCORE_CARD if scored_domains() else [],


agree_with_stages()


onerror:
    print(HOW_TO_RESUME)
