"""From lists of images to features."""

from naic_reid.pretrained import at_hand, located


def pretrained(wildcards):
    """The model's file of weights, if it starts from one; a dry run fetches none."""
    source = CONFIG.models[wildcards.model.removeprefix(FIRST)].pretrained
    cache = Path("scratch/weights")
    if not source or (DRY_RUN and not at_hand(source, cache)):
        return []
    try:
        return [str(located(source, cache))]
    except ReidError as error:
        raise WorkflowError(f"models.{wildcards.model}.{error}") from None


def attributes(wildcards):
    """The table of what persons wear, if the model learns it."""
    found = preflight.attributes(CONFIG, DATA)
    name = wildcards.model.removeprefix(FIRST)
    return [str(found[name])] if name in found else []


def training_list(wildcards):
    """What a model is trained on: in the second round, with what the first round's models agree on."""
    again = CONFIG.pseudo_label and not wildcards.model.startswith(FIRST)
    return PSEUDO_LABELLED if again else TRAINING


def unlabelled_list(wildcards):
    """The table of the images without labels that the model's recipe names; a toy's are not there yet."""
    model = wildcards.model.removeprefix(FIRST)
    listed = model in UNLABELLED and not CONFIG.toy
    return [surveyed(UNLABELLED_SURVEY.format(model=model))] if listed else []


rule train:
    input:
        images=training_list,
        unlabelled=unlabelled_list,
        pretrained=pretrained,
        attributes=attributes,
    output:
        checkpoints=expand(CHECKPOINT, epoch=CONFIG.ensemble.epochs, allow_missing=True),
        history=HISTORY,
    log:
        "logs/train/{model}.log",
    # One thread unless the profile gives more: sums depend on the number of threads, the answer
    # shall not depend on -j. Several models train side by side. Threads that read images are `workers`:
    # 0 is one for each core the job has, and how many there are changes nothing.
    threads: 1
    resources:
        # A day, and what is then unfinished goes on from there in the next attempt: only the memory grows.
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=1440,
        gpu=min(1, GPUS),
        workers=0,
    params:
        **door("train"),
    shell:
        RUN


def roles(domain):
    """Of the lists that features of a domain are taken of."""
    test = CONFIG.tests.get(domain)
    return ("query", "gallery", *(["multi_query"] if test and test.multi_query else []))


LISTS = [(role, domain) for domain in CONFIG.domains for role in roles(domain)]


def extracted(role, domain):
    """Where a list's features stand."""
    return EXTRACTED.replace("{role}", role).replace("{domain}", domain)


# All lists in one job: a process starts, and the checkpoint is read, once.
rule extract:
    input:
        images=[image_list(role, domain) for role, domain in LISTS],
        checkpoint=CHECKPOINT,
    output:
        features=[
            artefact(extracted(role, domain), "extract") for role, domain in LISTS
        ],
    log:
        shard_of("logs/extract/{model}_{epoch}.log", "extract"),
    threads: 1
    resources:
        **needs(8000, 240),
        gpu=min(1, GPUS),
        workers=0,
    params:
        **door("extract"),
    shell:
        RUN


if CONFIG.pseudo_label:
    PSEUDO_LABELLED_DOMAINS = CONFIG.pseudo_label.domains or CONFIG.competition

    def first_features(role):
        """Domains, then members, as `pseudo_label` expects them."""
        pattern = FEATURES.replace("{model}", FIRST + "{model}")
        return [
            path
            for domain in PSEUDO_LABELLED_DOMAINS
            for path in members(pattern, role=role, domain=domain)
        ]

    rule pseudo_label:
        input:
            train=TRAINING,
            query_lists=[
                image_list("query", domain) for domain in PSEUDO_LABELLED_DOMAINS
            ],
            gallery_lists=[
                image_list("gallery", domain) for domain in PSEUDO_LABELLED_DOMAINS
            ],
            query=first_features("query"),
            gallery=first_features("gallery"),
        output:
            images=PSEUDO_LABELLED,
            pairs="results/pseudo_label/pairs.tsv",
        log:
            "logs/pseudo_label.log",
        threads: 2
        resources:
            **needs(4000, 60, per_megabyte=1),
        params:
            **door("pseudo_label"),
        shell:
            RUN
