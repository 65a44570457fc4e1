"""From lists of images to features."""


def pretrained(wildcards):
    """The model's file of weights, if it starts from one."""
    path = CONFIG.models[wildcards.model].pretrained
    if path and not Path(path).is_file():
        raise WorkflowError(
            f"models.{wildcards.model}.pretrained: {path} is missing: put the weights there "
            "(the README says where they come from), or write `pretrained: null` to start from random ones"
        )
    return [path] if path else []


rule train:
    input:
        images=TRAINING,
        pretrained=pretrained,
    output:
        checkpoints=expand(CHECKPOINT, epoch=CONFIG.ensemble.epochs, allow_missing=True),
        history=HISTORY,
    log:
        "logs/train/{model}.log",
    # One thread unless the profile gives more: sums depend on the number of threads, the answer
    # shall not depend on -j. Several models train side by side.
    threads: 1
    resources:
        gpu=min(1, GPUS),
    params:
        **door("train"),
    shell:
        RUN


rule extract:
    input:
        images=lambda wildcards: image_list(wildcards.role, wildcards.domain),
        checkpoint=CHECKPOINT,
    output:
        features=FEATURES,
    log:
        "logs/extract/{model}_{epoch}_{role}_{domain}.log",
    threads: 1
    resources:
        gpu=min(1, GPUS),
    params:
        **door("extract"),
    shell:
        RUN
