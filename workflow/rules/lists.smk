"""From the data folder to the lists of images."""

if CONFIG.toy:

    rule toy:
        output:
            folder=directory(DATA),
            truth=TOY_TRUTH,
            attributes=sorted(
                set(map(str, preflight.attributes(CONFIG, DATA).values()))
            ),
        log:
            "logs/toy.log",
        localrule: True
        params:
            **door("toy"),
        shell:
            RUN

    rule survey:
        input:
            TOY_TRUTH,
        output:
            train=TRAIN_SURVEY,
            test=[TEST_SURVEY] if CONFIG.split else [],
            sources=SOURCE_SURVEYS,
            sets=expand(SET_SURVEY, domain=CONFIG.tests),
        log:
            "logs/survey.log",
        localrule: True
        params:
            **door("survey"),
        shell:
            RUN


rule collect:
    input:
        lists=surveyed(TRAIN_SURVEY),
        sources=list(map(surveyed, SOURCE_SURVEYS)),
    output:
        images=COLLECTED,
    log:
        "logs/collect.log",
    threads: 2
    resources:
        **needs(4000, 120),
    params:
        **door("collect"),
    shell:
        RUN


rule dedupe:
    input:
        images=COLLECTED,
        wrong=(
            [shipped(CONFIG.dedupe.wrong_labels)] if CONFIG.dedupe.wrong_labels else []
        ),
    output:
        kept=DEDUPED,
        dropped="results/dedupe/dropped.tsv",
        counts="results/dedupe/counts.tsv",
    log:
        "logs/dedupe.log",
    threads: 2
    resources:
        **needs(4000, 60),
    params:
        **door("dedupe"),
    shell:
        RUN


rule holdout:
    input:
        images=DEDUPED,
    output:
        train=TRAINING,
        query=image_list("query", "holdout"),
        gallery=image_list("gallery", "holdout"),
    log:
        "logs/holdout.log",
    localrule: True
    params:
        **door("holdout"),
    shell:
        RUN


if CONFIG.split:

    rule split:
        input:
            test=surveyed(TEST_SURVEY),
        output:
            query=[image_list("query", domain) for domain in CONFIG.competition],
            gallery=[image_list("gallery", domain) for domain in CONFIG.competition],
            means=MEANS,
        log:
            "logs/split.log",
        # A damaged test image is told before networks are trained for hours.
        priority: 1
        threads: 2
        resources:
            **needs(4000, 60),
        params:
            **door("split"),
        shell:
            RUN


if CONFIG.tests:

    rule tests:
        input:
            found=lambda wildcards: surveyed(SET_SURVEY.format(**wildcards)),
        output:
            query=TEST_LIST.replace("{role}", "query"),
            gallery=TEST_LIST.replace("{role}", "gallery"),
            multi_query=TEST_LIST.replace("{role}", "multi_query"),
        log:
            "logs/tests/{domain}.log",
        wildcard_constraints:
            domain="|".join(CONFIG.tests),
        priority: 1
        threads: 2
        resources:
            **needs(4000, 60),
        params:
            **door("tests"),
        shell:
            RUN_PLAIN


if CONFIG.cut:

    def whole_list(role):
        """The list of a role's images in the test that a domain cuts."""
        return lambda wildcards: image_list(role, CONFIG.cut[wildcards.domain].of)

    rule cut:
        input:
            query=whole_list("query"),
            gallery=whole_list("gallery"),
        output:
            cut_query="results/cut/query_{domain}.tsv",
            cut_gallery="results/cut/gallery_{domain}.tsv",
        log:
            "logs/cut/{domain}.log",
        wildcard_constraints:
            domain="|".join(CONFIG.cut),
        threads: 2
        resources:
            **needs(4000, 60),
        params:
            **door("cut"),
        shell:
            RUN
