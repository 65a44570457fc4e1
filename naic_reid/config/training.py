"""Settings of the recipe: losses, augmentation, schedule, optimizer."""

import re
from collections.abc import Mapping
from operator import not_
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from naic_reid.config.section import (
    Count,
    Inside,
    Kept,
    NotNegative,
    Positive,
    Section,
    Share,
    require,
    validated,
)

# The keys of losses.IDENTITY_LOSSES and losses.METRIC_LOSSES, and the options each takes.
IDENTITY_LOSSES: dict[str, tuple[str, ...]] = {
    "arcface": ("scale", "margin"),
    "arcface_fastreid": ("scale", "margin"),
    "cosface": ("scale", "margin"),
    "am_softmax": ("scale", "margin"),
    "circle": ("scale", "margin", "smoothing"),
    "sphere": ("scale",),
    "linear": ("smoothing",),
    "linear_fastreid": ("smoothing",),
}
METRIC_LOSSES: dict[str, tuple[str, ...]] = {
    "weighted_triplet": ("margin",),
    "weighted_triplet_fastreid": ("margin",),
    "hard_triplet": ("margin",),
    "pull_triplet": ("margin",),
    "relative_triplet": ("margin",),
    "visible_triplet": ("margin",),
    "center": (),
    "pairwise_cosface": ("scale", "margin"),
    "pairwise_circle": ("scale", "margin"),
    "batch_circle": ("scale", "margin"),
    "mined_triplet": ("margin",),
    "contrastive": ("margin",),
    "lifted": ("margin",),
    "instance": ("scale",),
    "instance_identity": ("scale",),
}


Precision = Literal["fp32", "tf32", "bf16", "fp16"]


class Loss(Section):
    """One term of the training loss."""

    name: str = Field(
        description=f"identity: {', '.join(IDENTITY_LOSSES)}; metric: {', '.join(METRIC_LOSSES)}"
    )
    weight: NotNegative = Field(1.0, description="factor of this term in the sum")
    scale: Positive | None = Field(None, description="scale s or gamma, where the loss has one")
    margin: NotNegative | None = Field(
        None, description="margin m, where the loss has one; none: soft margin"
    )
    smoothing: Share | None = Field(
        None, description="label smoothing, where the loss has one; none: 0.1, of circle 0"
    )

    @model_validator(mode="after")
    def _options(self) -> Self:
        known = {**IDENTITY_LOSSES, **METRIC_LOSSES}
        require(self.name in known, f"unknown loss {self.name!r}; there are {', '.join(known)}")
        given = [option for option in ("scale", "margin", "smoothing") if getattr(self, option) is not None]
        idle = [option for option in given if option not in known[self.name]]
        require(not idle, f"the loss {self.name} has no {', '.join(idle)}: leave it out")
        return self


Jitter = Annotated[float, Field(ge=0, le=10)]


class Augment(Section):
    """How training images are varied; each is off at 0."""

    flip: Share = Field(0.5, description="probability of mirroring")
    pad: Annotated[int, Field(ge=0)] = Field(10, description="pixels of zero border before the random crop")
    brightness: Jitter = Field(0.5, description="colour jitter: factor in 1 ± this")
    contrast: Jitter = Field(0.5, description="colour jitter: factor in 1 ± this")
    saturation: Jitter = Field(0.5, description="colour jitter: factor in 1 ± this")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.2, description="colour jitter: turn in ± this share of a circle"
    )
    jitter: Share = Field(
        1.0, exclude_if=(1.0).__eq__, description="probability of colour jitter: of the four above"
    )
    erasing: Share = Field(0.2, description="probability of erasing a rectangle")
    erasing_fill: Literal["mean", "zero", "black", "noise"] = Field(
        "mean",
        description="mean: ImageNet's mean in normalised space, as the original; zero: the mean pixel; "
        "black; noise: each pixel",
    )
    erasing_draws: Literal["original", "torchvision"] = Field(
        "original", exclude_if="original".__eq__,
        description="the rectangle's area and sides: 2 to 40 % of the image, ratio uniform in 0.3 … 3.3; "
        "torchvision: 2 to 33 %, the ratio's logarithm uniform (FastReID since 2020-09)",
    )  # fmt: skip
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(0.0, description="turn in ± these degrees")
    translation: Share = Field(0.0, description="shift in ± this share of the sides")
    scaling: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="size in 1 ± this")
    policy: Literal["none", "autoaugment", "augmix"] = Field(
        "none", description="a published mixture of operations, before all else"
    )
    policy_share: Share = Field(
        1.0, exclude_if=(1.0).__eq__, description="probability of the policy, for each image"
    )
    cmy: Share = Field(0.0, description="probability of showing cyan, magenta, yellow, black taken out")
    crop_keep: tuple[Kept, Kept] = Field(
        (1.0, 1.0), exclude_if=(1.0, 1.0).__eq__,
        description="partial bodies: least and greatest share of the rows that stay, above 1: all; VPM: "
        "[0.5, 1.0833]",
    )  # fmt: skip
    crop_keep_x: tuple[Kept, Kept] = Field(
        (1.0, 1.0), exclude_if=(1.0, 1.0).__eq__,
        description="partial bodies: likewise of the columns, which lie anywhere",
    )  # fmt: skip
    crop_head: Share = Field(
        0.0, exclude_if=not_, description="partial bodies: probability that the upper rows go, not the lower"
    )
    crop_then: Literal["stretch", "blank"] = Field(
        "stretch", exclude_if="stretch".__eq__,
        description="partial bodies: stretched to the whole image, or the rest blank",
    )  # fmt: skip

    @model_validator(mode="after")
    def _parts_are_cut_somewhere(self) -> Self:
        for word in ("crop_keep", "crop_keep_x"):
            least, most = getattr(self, word)
            require(least <= most, f"{word} {least:g}, {most:g}: the least share comes first")
        rows, columns = self.crop_keep[0] < 1, self.crop_keep_x[0] < 1
        require(rows or not self.crop_head, "crop_head: crop_keep keeps every row: lower it, or leave it out")
        require(
            rows or columns or self.crop_then == "stretch",
            "crop_then: crop_keep and crop_keep_x keep every row and column: lower one, or leave it out",
        )
        return self

    @property
    def stretches(self) -> bool:
        """Whether parts of pictures are shown in the place of whole ones."""
        return (self.crop_keep[0] < 1 or self.crop_keep_x[0] < 1) and self.crop_then == "stretch"


class Ratio(Section):
    """What teaches a model's `ratio`: crops that are made of each batch, whose change is known."""

    loss: Literal["direct", "relative", "relative_log"] = Field(
        "relative_log",
        description="of the ratio itself; or of its change by a crop, plain or by logarithms",
    )
    weight: Positive = Field(1.0, description="of this term in the sum")
    cycle: NotNegative = Field(
        0.0, description="weight of what is left to tell once a crop is seen at the scale that was told"
    )


class Attributes(Section):
    """What persons wear, learnt beside who they are."""

    table: Inside = Field(
        description="in the data folder: market_attribute.mat, duke_attribute.mat, or a CSV file with a "
        "column person and one for each attribute; a toy writes its own, attributes.csv"
    )
    weight: NotNegative = Field(1.0, description="of the mean cross-entropy of the attributes")
    head: Literal["linear", "bottleneck", "mlp2", "mlp3", "mlp4"] = Field(
        "linear",
        description="one layer; linear, batch normalisation, linear; or 2 to 4 linear layers, ReLU between",
    )
    reduction: Annotated[int, Field(ge=0, le=8192)] = Field(
        0, exclude_if=not_, description="width of a linear layer before the heads, e.g. 128; 0: none"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="of what the heads see")
    cosine: NotNegative = Field(
        0.0, description="logits are this many times the cosine to each value's row; 0: linear logits"
    )


class Schedule(Section):
    """The learning rate's factor by epoch."""

    kind: Literal["multistep", "cosine"] = Field("multistep", description="how the rate falls after warm-up")
    warmup_epochs: Annotated[int, Field(ge=0)] = Field(10, description="epochs of rising rate")
    warmup_factor: Share = Field(0.01, description="factor at epoch 0")
    milestones: tuple[Count, ...] = Field((25, 40), description="epochs (from 0) at which the rate falls")
    gamma: Share = Field(0.1, description="factor at each milestone")
    flat_epochs: Annotated[int, Field(ge=0)] = Field(
        0, description="cosine: epochs at the whole rate, after warm-up, before it falls"
    )
    each: Literal["epoch", "step"] = Field("epoch", description="how often the rate is set")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        0, exclude_if=not_, description="steps of rising rate, in the place of warmup_epochs: set that to 0"
    )
    warmup_on: Literal["rate", "loss"] = Field(
        "rate", exclude_if="rate".__eq__,
        description="what rises; loss: the whole loss, at the full rate, so that weight decay is whole from "
        "the first step on (the friendly baseline); a step ahead",
    )  # fmt: skip
    floor: Share = Field(0.0, exclude_if=not_, description="cosine: factor that the last epoch comes down to")
    counts: Literal["epochs", "after_warmup"] = Field(
        "epochs", exclude_if="epochs".__eq__,
        description="what milestones and the cosine count; after_warmup: whole epochs after the one in which "
        "warmup_steps end, and after flat_epochs, which begin with training (FastReID's code of today)",
    )  # fmt: skip

    @model_validator(mode="after")
    def _one_warm_up(self) -> Self:
        require(
            not (self.warmup_steps and self.warmup_epochs),
            f"warmup_steps {self.warmup_steps} and warmup_epochs {self.warmup_epochs}: set one of them to 0",
        )
        require(
            self.warmup_on == "rate" or bool(self.warmup_steps or self.warmup_epochs),
            "warmup_on: loss needs warmup_epochs or warmup_steps: nothing rises",
        )
        require(
            self.counts == "epochs" or bool(self.warmup_steps),
            "counts: after_warmup needs warmup_steps: milestones count from their end",
        )
        return self

    def beyond(self, epochs: int) -> str:
        """What of it would never come, or not in full, within so many epochs; nothing where all does."""
        if self.warmup_epochs > epochs:
            return f"warmup_epochs {self.warmup_epochs} reach"
        if self.kind == "cosine":
            flat = self.warmup_epochs + self.flat_epochs
            return f"flat_epochs {self.flat_epochs} after warmup_epochs reach" if flat > epochs else ""
        late = [milestone for milestone in self.milestones if milestone >= epochs]
        return f"milestones {late} (from 0) lie" if late else ""


class Change(Section):
    """Words of the recipe that are others from one step on: how a run that diverged there goes on."""

    epoch: Count = Field(description="from 1, as in messages and the history")
    step: Count = Field(1, description="of that epoch, from 1")
    learning_rate: Positive | None = Field(None, description="(lr) from there on; none: as before")
    head_learning_rate: Positive | None = Field(None, description="from there on; none: as before")
    precision: Precision | None = Field(None, description="from there on; none: as before")
    clip: Positive | None = Field(None, description="from there on; none: as before")

    @property
    def words(self) -> dict[str, Any]:
        """What changes."""
        return self.model_dump(exclude={"epoch", "step"}, exclude_none=True)

    @model_validator(mode="after")
    def _something(self) -> Self:
        require(
            bool(self.words), "changes nothing: give learning_rate, head_learning_rate, precision or clip"
        )
        return self


class Adversarial(Section):
    """Adversarial training: images whose features were turned round are to be known all the same (ODFA)."""

    weight: NotNegative = Field(0.1, description="factor of the identity loss of attacked images in the sum")
    every: Count = Field(
        10, description="steps from one that is attacked to the next; each epoch begins with one; U-turn: 40"
    )
    levels: Annotated[int, Field(ge=1, le=255)] = Field(
        16, description="grey levels, of 255, by which a number of an image changes at most"
    )


class Unlabelled(Section):
    """Further images that nobody has labelled: two variations of each are to be the same to the network."""

    images: Inside = Field(description="folder in the data folder, looked through with its sub-folders")
    weight: NotNegative = Field(0.1, description="factor of this term in the sum; published with twin: 0.01")
    after: Share = Field(
        0.8, description="share of the epochs after which it begins; 0: with the first; published: 0.1"
    )
    form: Literal["teacher", "twin"] = Field(
        "teacher",
        description="teacher: the second variation is judged by a moving average of the network, and both "
        "are drawn together; twin: by the network itself, and both are drawn to the product of their shares",
    )
    decay: Annotated[float, Field(ge=0, lt=1)] = Field(0.996, description="teacher: of the moving average")

    @model_validator(mode="after")
    def _decay_is_a_teachers(self) -> Self:
        idle = self.form == "twin" and self.decay != type(self).model_fields["decay"].default
        require(not idle, "decay is a word of form teacher: leave it out")
        return self

    def at(self, epoch: int, epochs: int) -> bool:
        """Whether it is at work in an epoch, from 0, of so many."""
        return self.after == 0 or epoch > self.after * epochs


class Train(Section):
    """The recipe that all models share."""

    epochs: Count = Field(60, description="passes over the training list")
    checkpoint_every: Count = Field(
        5, description="epochs between checkpoints that a run keeps, for ensemble.epochs to pick from; the "
        "last and those picked are kept, too; changes no result"
    )  # fmt: skip
    steps_per_epoch: Count | None = Field(None, description="cut an epoch to this many steps; none: whole")
    batch: Annotated[int, Field(ge=1, le=1 << 20)] = Field(
        224, description="images in a batch: P identities × num_instances"
    )
    num_instances: Annotated[int, Field(ge=2)] = Field(2, description="K of the P×K sampler")
    sampler: Literal["every_image", "naive", "balanced", "shuffled"] = Field(
        "every_image", exclude_if="every_image".__eq__,
        description="every_image: each once an epoch or oftener; naive, balanced: FastReID's, whose epoch "
        "is as many batches as its images fill; shuffled: images in random order, whoever is on them",
    )  # fmt: skip
    optimizer: Literal["ranger", "adam", "adamw", "sgd", "apex_adam", "apex_sgd"] = Field(
        "ranger",
        description="ranger: RAdam with look-ahead; sgd: momentum 0.9, nesterov: Nesterov's; "
        "apex_…: where NVIDIA's apex is installed",
    )
    nesterov: bool = Field(
        False, exclude_if=not_, description="sgd, apex_sgd: the momentum is Nesterov's, a step ahead"
    )
    learning_rate: Positive = Field(0.01, description="lr of the body, before the schedule")
    head_learning_rate: Positive | None = Field(None, description="lr of the classifier; none: as the body")
    bias_rate: Positive = Field(
        1.0, exclude_if=(1.0).__eq__, description="factor of the learning rate (lr) of all biases"
    )
    weight_decay: NotNegative = Field(5.0e-4, description="decoupled for ranger: rate × decay")
    schedule: Schedule = Field(default_factory=Schedule)
    identity_loss: Loss = Field(default_factory=lambda: Loss(name="arcface", scale=30, margin=0.4))
    metric_loss: Loss | None = Field(default_factory=lambda: Loss(name="weighted_triplet"))
    metric_on: Literal["embedding", "feature"] = Field(
        "embedding", exclude_if="embedding".__eq__,
        description="what metric losses judge: embeddings before the neck, or features after it",
    )  # fmt: skip
    more_losses: tuple[Loss, ...] = Field(
        (), description="further losses of either kind, e.g. center, sphere; class rows of their own"
    )
    augment: Augment = Field(default_factory=Augment)
    precision: Precision = Field(
        "fp16", description="of products; tf32: GPUs since Ampere; fp16 scales losses, slow on a processor"
    )
    deterministic: bool = Field(
        True, exclude_if=bool,
        description="equal runs give equal bits on a GPU, too; false: its quickest kernels",
    )  # fmt: skip
    clip: Positive | None = Field(None, description="greatest length (norm) of the gradient; none: any")
    accumulate: Count = Field(
        1,
        description="micro-batches of a batch, one after the other: less memory; losses see only theirs",
    )
    accumulate_to_fit: bool = Field(
        False, exclude_if=not_, description="more micro-batches where a GPU's memory is too small"
    )
    changes: tuple[Change, ...] = Field(
        (),
        exclude_if=not_,
        description="words that are others from a step on; what was trained before is kept",
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="decay of the moving average of weights, which is then what is kept"
    )
    swa_epochs: Count | None = Field(
        None, exclude_if=not_, description="SWA: the mean of the weights after each "
        "of so many last epochs is what is kept of them, its batch normalisation's statistics made anew"
    )  # fmt: skip
    ratio: Ratio | None = Field(
        None, exclude_if=not_, description="teach the models' ratio by crops; none: nothing does"
    )
    taps: Literal["none", "known", "predicted"] = Field(
        "none", exclude_if="none".__eq__,
        description="plain ResNets: taps of kernels spread by how much taller a crop appears, as the crop "
        "says, or as the model's ratio does, which then learns from all losses",
    )  # fmt: skip
    teacher: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, exclude_if=lambda value: value is None,
        description="decay of a moving average with whose features triplets compare, not with the batch's",
    )  # fmt: skip
    adversarial: Adversarial | None = Field(
        None, exclude_if=not_, description="some steps see their images attacked, too; none: no"
    )
    unlabelled: Unlabelled | None = Field(
        None, exclude_if=not_, description="each step sees half as many images without labels, too; none: no"
    )
    attributes: Attributes | None = Field(
        None, exclude_if=lambda value: value is None,
        description="heads that tell what persons wear, trained beside the rest; none: no such heads",
    )  # fmt: skip
    freeze: tuple[str, ...] = Field((), description="patterns of parameters kept, e.g. backbone.layer1.*")
    freeze_steps: Count | None = Field(None, exclude_if=not_, description="steps for which they are kept")
    freeze_epochs: Count | None = Field(None, description="epochs for which they are kept; none: all")
    freeze_norm: bool = Field(
        True, description="batch normalisation among the kept uses and keeps its running statistics"
    )
    sync_norm: bool = Field(
        False, description="batch normalisation over all processes that train together; needs GPUs"
    )
    cameras: str | None = Field(
        None, exclude_if=not_,
        description="K images show as many cameras as they can; known: the training list's; or a pattern "
        "of a path whose group is the camera, e.g. _c([0-9]+); none: cameras play no part",
    )  # fmt: skip
    channel_shuffles: Annotated[int, Field(ge=0, le=5)] = Field(
        0, description="further identities made of each one by a permutation of its channels"
    )

    def adapted(self, words: Mapping[str, Any]) -> "Train":
        """The recipe with other words, as a config writes them; `schedule` and `augment` keep theirs.

        Raises:
            ReidError: a word is unknown, or its value is wrong.
        """
        raw = self.model_dump(mode="json", by_alias=True)
        for word, value in words.items():
            adds = word in ("schedule", "augment") and isinstance(value, dict)
            raw[word] = raw[word] | value if adds else value
        recipe: Train = validated(Train, raw, "recipe")
        return recipe

    def at(self, epoch: int, step: int) -> "Train":
        """The recipe of one step, both from 0, after the changes until then."""
        words: dict[str, Any] = {}
        for change in self.changes:
            if (change.epoch - 1, change.step - 1) <= (epoch, step):
                words |= change.words
        return self.model_copy(update=words) if words else self

    @field_validator("cameras")
    @classmethod
    def _a_pattern(cls, cameras: str | None) -> str | None:
        try:
            groups = 1 if cameras in (None, "known") else re.compile(cameras).groups
        except re.error as error:
            raise ValueError(f"{cameras!r} is no regular expression: {error}") from error
        require(groups == 1, f"{cameras!r} must be known, or have one group ( ) around the camera")
        return cameras

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        thaws = self.freeze_steps is not None or (self.freeze_epochs or self.epochs) < self.epochs
        everything = [pattern for pattern in self.freeze if not pattern.strip("*?")]
        require(thaws or not everything, f"freeze {everything} keeps every parameter: nothing is trained")
        require(
            self.freeze_epochs is None or bool(self.freeze), "freeze_epochs: freeze names nothing to keep"
        )
        return self

    @model_validator(mode="after")
    def _changes_come_in_order(self) -> Self:
        places = [(change.epoch, change.step) for change in self.changes]
        require(places == sorted(set(places)), "changes must come in the order of their epochs and steps")
        late = [epoch for epoch, _ in places if epoch > self.epochs]
        require(not late, f"changes in the epochs {late} lie beyond train.epochs {self.epochs}")
        return self

    @model_validator(mode="after")
    def _unlabelled_images_are_seen(self) -> Self:
        seen = self.unlabelled is None or self.unlabelled.at(self.epochs - 1, self.epochs)
        require(seen, f"unlabelled.after: of {self.epochs} epochs none is left: lower it")
        return self

    @model_validator(mode="after")
    def _momentum_is_sgds(self) -> Self:
        idle = self.nesterov and self.optimizer not in ("sgd", "apex_sgd")
        require(not idle, f"nesterov is a word of sgd, and optimizer is {self.optimizer}: leave it out")
        return self

    @model_validator(mode="after")
    def _one_average(self) -> Self:
        require(self.ema is None or self.swa_epochs is None, "ema and swa_epochs are two averages: give one")
        require(
            (self.swa_epochs or 0) <= self.epochs,
            f"swa_epochs {self.swa_epochs} are more than the {self.epochs} epochs",
        )
        return self

    @model_validator(mode="after")
    def _one_thaw(self) -> Self:
        both = self.freeze_steps is not None and self.freeze_epochs is not None
        require(not both, "freeze_steps and freeze_epochs are two ends of one thing: give one")
        idle = self.freeze_steps is not None and not self.freeze
        require(not idle, "freeze_steps without freeze keeps nothing: name patterns, or leave it out")
        return self

    @model_validator(mode="after")
    def _groups(self) -> Self:
        names = [loss.name for loss in (self.identity_loss, self.metric_loss, *self.more_losses) if loss]
        require(len(set(names)) == len(names), "two of the losses have the same name")
        able = ("hard_triplet", "pull_triplet", "relative_triplet")
        compared = [name for name in names if name in METRIC_LOSSES]
        others = [name for name in compared if name not in able]
        require(
            self.teacher is None or bool(compared and not others),
            f"teacher: {', '.join(others) or 'no metric loss'} compares with none: use {', '.join(able)}",
        )
        require(
            self.batch // self.num_instances >= 2 * self.accumulate,
            f"accumulate {self.accumulate} leaves micro-batches of fewer than 2 identities",
        )
        require(
            self.batch % self.num_instances == 0,
            f"batch {self.batch} is not a multiple of num_instances {self.num_instances}",
        )
        require(
            self.identity_loss.name in IDENTITY_LOSSES,
            f"identity_loss {self.identity_loss.name} is none; there are {', '.join(IDENTITY_LOSSES)}",
        )
        require(
            self.metric_loss is None or self.metric_loss.name in METRIC_LOSSES,
            f"metric_loss is none of {', '.join(METRIC_LOSSES)}",
        )
        return self
