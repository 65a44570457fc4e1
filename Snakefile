"""The walk from data sets to the score card, a report and, for the competition, the submission."""

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/common.smk"
include: "workflow/rules/preflight.smk"
include: "workflow/rules/lists.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/retrieve.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        SUBMISSION if CONFIG.split else [],
        SCORE_CARD if scored_domains() else [],
        PAGE if CONFIG.report else [],


agree_with_stages()


onsuccess:
    # What the steps read is remembered, so that the next run finds changes without reading it all again.
    look_at_images()


onerror:
    tell_what_failed()
