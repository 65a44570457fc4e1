"""From features to the submission and the score card."""


def features(role):
    return FEATURES.replace("{role}", role)


if CONFIG.query_expansion:

    rule query_expansion:
        input:
            query=EXTRACTED.replace("{role}", "query"),
            gallery=EXTRACTED.replace("{role}", "gallery"),
        output:
            new_query=features("query"),
            new_gallery=features("gallery"),
        log:
            "logs/query_expansion/{model}_{epoch}_{domain}.log",
        threads: 2
        resources:
            **needs(4000, 60, per_megabyte=3),
            gpu=min(1, GPUS),
        params:
            **door("query_expansion"),
        shell:
            RUN


rule search:
    input:
        query=features("query"),
        gallery=features("gallery"),
    output:
        neighbours=artefact(NEIGHBOURS, "search"),
    log:
        shard_of("logs/search/{model}_{epoch}_{domain}.log", "search"),
    threads: 2
    resources:
        **needs(4000, 60, per_megabyte=2),
        gpu=min(1, GPUS),
    params:
        **door("search"),
    shell:
        RUN


rule rerank:
    input:
        neighbours=NEIGHBOURS,
        query=features("query"),
        gallery=features("gallery"),
    output:
        jaccard=artefact(JACCARD, "rerank"),
    log:
        shard_of("logs/rerank/{model}_{epoch}_{domain}.log", "rerank"),
    threads: 2
    resources:
        **needs(4000, 60, per_megabyte=4),
    params:
        **door("rerank"),
    shell:
        RUN


def parts_of(wildcards):
    """What the shards of a step make of one file."""
    pattern = "results/{step}/{model}/epoch_{epoch}/{name}.npz"
    numbers = range(1, SHARDS[wildcards.step] + 1)
    return expand(shard_of(pattern, wildcards.step), shard=numbers, **wildcards)


if SHARDS:

    rule gather:
        input:
            parts=parts_of,
        output:
            whole="results/{step}/{model}/epoch_{epoch}/{name}.npz",
        log:
            "logs/gather/{step}_{model}_{epoch}_{name}.log",
        wildcard_constraints:
            step="|".join(SHARDS),
            name="[^/]+",
        resources:
            **needs(2000, 60, per_megabyte=3),
        params:
            **door("gather"),
        shell:
            RUN_PLAIN


rule fuse:
    input:
        query=members(FEATURES, role="query"),
        gallery=members(FEATURES, role="gallery"),
        jaccard=members(JACCARD),
    output:
        ranking=RANKING,
    log:
        "logs/fuse/{domain}.log",
    threads: 2
    resources:
        **needs(4000, 60, per_megabyte=1),
        gpu=min(1, GPUS),
    params:
        **door("fuse"),
    shell:
        RUN


if CONFIG.split:

    rule submit:
        input:
            rankings=expand(RANKING, domain=CONFIG.competition),
            queries=[image_list("query", domain) for domain in CONFIG.competition],
            galleries=[image_list("gallery", domain) for domain in CONFIG.competition],
        output:
            # What stands there stays until the new one does, also when the step fails.
            submission=update(SUBMISSION),
            record=update(RECORD),
        log:
            "logs/submit.log",
        localrule: True
        params:
            **door("submit"),
        shell:
            RUN_PLAIN


def other_lists(role):
    """Lists of a role in the competition's other domains: what can never be returned to these queries."""

    def lists(wildcards):
        domains = CONFIG.competition if wildcards.domain in CONFIG.competition else ()
        return [
            image_list(role, domain) for domain in domains if domain != wildcards.domain
        ]

    return lists


def multi_query(domain):
    """The list of images that are averaged with a domain's queries, and their features by each member."""
    test = CONFIG.tests.get(domain)
    if not test or not test.multi_query:
        return []
    features = members(EXTRACTED, role="multi_query", domain=domain)
    return [image_list("multi_query", domain), *features]


rule evaluate:
    input:
        query_list=lambda wildcards: image_list("query", wildcards.domain),
        gallery_list=lambda wildcards: image_list("gallery", wildcards.domain),
        others=other_lists("gallery"),
        other_queries=other_lists("query"),
        multi_query_list=lambda wildcards: multi_query(wildcards.domain)[:1],
        query=members(FEATURES, role="query"),
        gallery=members(FEATURES, role="gallery"),
        multi_query=lambda wildcards: multi_query(wildcards.domain)[1:],
        jaccard=members(JACCARD),
        ranking=RANKING,
        truth=lambda wildcards: TRUTH if wildcards.domain in CONFIG.competition else [],
    output:
        scores=SCORES,
        heads=HEADS,
    log:
        "logs/evaluate/{domain}.log",
    threads: 2
    resources:
        **needs(4000, 60, per_megabyte=1),
        gpu=min(1, GPUS),
    params:
        **door("evaluate"),
    shell:
        RUN


rule card:
    input:
        scores=expand(SCORES, domain=scored_domains()),
        trained=TRAINING,
        tested=[
            image_list(role, domain)
            for domain in scored_domains()
            for role in ("query", "gallery")
        ],
    output:
        card=update(CARD),
        table=update(SCORE_CARD),
    log:
        "logs/card.log",
    localrule: True
    params:
        **door("card"),
    shell:
        RUN


if CONFIG.report:

    def looking():
        """The network of which the report shows where it looked: the first model, as it was trained last."""
        if not CONFIG.report.heat:
            return []
        model, epoch = next(iter(CONFIG.models)), max(CONFIG.ensemble.epochs)
        return [CHECKPOINT.format(model=model, epoch=epoch)]

    rule report:
        input:
            card=[CARD] if scored_domains() else [],
            scores=expand(SCORES, domain=scored_domains()),
            heads=expand(HEADS, domain=scored_domains()),
            rankings=[
                RANKING.format(domain=domain)
                for domain in CONFIG.domains
                if domain not in scored_domains()
            ],
            checkpoint=looking(),
            tested=[
                image_list(role, domain)
                for domain in CONFIG.domains
                for role in ("query", "gallery")
            ],
            trained=TRAINING,
            collected=COLLECTED,
            histories=[HISTORY.format(model=model) for model in CONFIG.models],
            counts="results/dedupe/counts.tsv",
            dropped="results/dedupe/dropped.tsv",
        output:
            page=update(PAGE),
            record=update(PAGE_RECORD),
        log:
            "logs/report.log",
        threads: 1
        resources:
            **needs(6000 if CONFIG.report.heat else 2000, 60),
        params:
            **door("report"),
        shell:
            RUN
