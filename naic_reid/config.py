"""The settings, as one typed tree: what changes the answer, and nothing else.

One YAML file describes one result. `load` reads it into an immutable `Config` and refuses unknown
keys, wrong types, impossible values and dangling names together, each with its dotted key and a
sentence. Each section is named after the stage that owns it; `models` and `rerank` are tables, of
which a stage receives one entry.
"""

import difflib
import itertools
import json
import re
from collections.abc import Hashable, Mapping
from operator import not_
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from naic_reid.errors import ReidError, listing

Share = Annotated[float, Field(ge=0, le=1)]
Pixels = Annotated[int, Field(ge=16, le=2048)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]

HOLDOUT = "holdout"

# The keys of models.BACKBONES; `timm/<name>` is known too. A test keeps these tables and the rooms' equal.
BACKBONES = (
    *("resnet18", "resnet34", "resnet50", "resnet101"),
    *("resnet18_ibn_a", "resnet34_ibn_a", "resnet50_ibn_a", "resnet101_ibn_a"),
    *("resnet18_ibn_b", "resnet34_ibn_b", "resnet50_ibn_b", "resnet101_ibn_b"),
    *("se_resnet50_ibn_a", "se_resnet101_ibn_a"),
)
# The keys of losses.IDENTITY_LOSSES and losses.METRIC_LOSSES, and the options each takes.
IDENTITY_LOSSES: dict[str, tuple[str, ...]] = {
    "arcface": ("scale", "margin"),
    "cosface": ("scale", "margin"),
    "am_softmax": ("scale", "margin"),
    "circle": ("scale", "margin"),
    "linear": ("smoothing",),
    "linear_fastreid": ("smoothing",),
}
METRIC_LOSSES: dict[str, tuple[str, ...]] = {
    "weighted_triplet": ("margin",),
    "hard_triplet": ("margin",),
    "center": (),
    "pairwise_cosface": ("scale", "margin"),
    "pairwise_circle": ("scale", "margin"),
}


class Section(BaseModel):
    """A frozen group of settings that refuses what it does not know.

    Settings with `exclude_if` came later than others: while they are off, records do not name them, so
    that what was made before they existed still fits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


class Toy(Section):
    """Generated images in the competition's layout, when there are no real ones."""

    train_identities: Annotated[int, Field(ge=8)] = Field(48, description="persons to train on")
    test_identities: Annotated[int, Field(ge=4)] = Field(16, description="persons in query and gallery")
    images: Annotated[int, Field(ge=4)] = Field(10, description="images of each person")
    cameras: Annotated[int, Field(ge=2)] = Field(4, description="cameras, each with its colours and blur")
    height: Pixels = Field(128, description="pixels of a drawn image")
    width: Pixels = Field(64, description="pixels of a drawn image")


class Source(Section):
    """One published label list and the folder its paths start from, both within the data folder."""

    name: Name = Field(description="short name; identities are called name/label")
    list: str = Field(description="the label list, e.g. train_2020_fs/train_list.txt")
    images: str = Field(description="folder the listed paths are relative to, e.g. train_2020_fs/images")


class Collect(Section):
    """Where training images come from."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)] = Field(
        description="label lists, most trusted first: of identical images the first source's is kept"
    )
    unreadable: Literal["fail", "drop"] = Field(
        "fail",
        description="what to do with images that cannot be decoded: stop before training, or leave out",
    )
    decode: bool = Field(
        True, description="decode every image: finds damaged ones before training; dedupe.by_pixels needs it"
    )

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [source.name for source in self.sources]
        _require(len(set(names)) == len(names), "two sources have the same name")
        return self


class Dedupe(Section):
    """What is dropped and who is united before training."""

    wrong_labels: str | None = Field(
        None, description="file of wrongly labelled listed paths, e.g. data_lists/wrong_labels.txt"
    )
    wrong_label_sources: tuple[str, ...] = Field((), description="sources the wrong labels occur in")
    by_pixels: bool = Field(True, description="also compare decoded pixels, not only file bytes")
    unite: bool = Field(True, description="make one identity of two that share an image; false: the original")
    max_component: Annotated[int, Field(ge=2)] = Field(
        16, description="refuse to make one person of more identities than this: a wrong link is likelier"
    )
    min_images: Count = Field(2, description="identities with fewer images are dropped, last of all")


class Holdout(Section):
    """Whole identities set aside as a labelled query and gallery: the domain `holdout`."""

    share: Share = Field(0.05, description="share of identities set aside; 0 switches the hold-out off")
    query_images: Count = Field(1, description="images of each identity that become queries")


class Split(Section):
    """Query and gallery folders into domains that are searched on their own."""

    query: str = Field("image_B_v1_1/query", description="folder of query images in the data folder")
    gallery: str = Field("image_B_v1_1/gallery", description="folder of gallery images in the data folder")
    rule: Literal["brightness", "none"] = Field(
        "brightness",
        description="brightness: green if all channel means exceed the threshold; none: one domain",
    )
    threshold: Annotated[float, Field(ge=0, le=255)] = Field(65.0, description="grey levels, strictly above")

    @property
    def domains(self) -> tuple[str, ...]:
        """The competition's domains under this rule."""
        return ("green", "normal") if self.rule == "brightness" else ("all",)


class Model(Section):
    """One network at one resolution: trained once."""

    backbone: str = Field(description=f"{', '.join(BACKBONES)}, or timm/<name>")
    height: Pixels = Field(description="pixels")
    width: Pixels = Field(description="pixels")
    pooling: Literal["gem", "average"] = Field("gem", description="how the map becomes a vector; gem: p = 3")
    last_stride: Literal[1, 2] = Field(
        1, description="stride of a ResNet's last stage; 1 keeps twice the detail; timm's keep their own"
    )
    pretrained: str | None = Field(
        None, description="ImageNet weights: a file, https://…#sha256=…, or package:NAME; none: random start"
    )
    stripes: Annotated[int, Field(ge=0, le=12)] = Field(
        0, exclude_if=not_, description="stripes of the map with features of their own; 0: none; PCB: 6"
    )
    standardise: bool = Field(
        False, exclude_if=not_,
        description="bring each channel of each image to mean 0 and deviation 1: against colour casts",
    )  # fmt: skip
    carry_classes: bool = Field(
        False, exclude_if=not_,
        description="start the classes of known identities, too, from pretrained: a checkpoint of ours",
    )  # fmt: skip
    weight: Positive = Field(1.0, description="weight of this model's distances in the fusion")
    recipe: dict[Name, Any] = Field(
        {}, exclude_if=not_, description="words of train that differ for this model, e.g. {batch: 64}"
    )

    @field_validator("backbone")
    @classmethod
    def _known(cls, backbone: str) -> str:
        known = backbone in BACKBONES or re.fullmatch(r"timm/[a-z0-9_.]+", backbone)
        near = difflib.get_close_matches(backbone, BACKBONES, n=3) or BACKBONES
        _require(bool(known), f"unknown backbone {backbone!r}; near: {', '.join(near)}; or timm/<name>")
        return backbone


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
    smoothing: Share | None = Field(None, description="label smoothing, where the loss has one; none: 0.1")

    @model_validator(mode="after")
    def _options(self) -> Self:
        known = {**IDENTITY_LOSSES, **METRIC_LOSSES}
        _require(self.name in known, f"unknown loss {self.name!r}; there are {', '.join(known)}")
        given = [option for option in ("scale", "margin", "smoothing") if getattr(self, option) is not None]
        idle = [option for option in given if option not in known[self.name]]
        _require(not idle, f"the loss {self.name} has no {', '.join(idle)}: leave it out")
        return self


class Augment(Section):
    """How training images are varied; each is off at 0."""

    flip: Share = Field(0.5, description="probability of mirroring")
    pad: Annotated[int, Field(ge=0)] = Field(10, description="pixels of zero border before the random crop")
    brightness: NotNegative = Field(0.5, description="colour jitter: factor in 1 ± this")
    contrast: NotNegative = Field(0.5, description="colour jitter: factor in 1 ± this")
    saturation: NotNegative = Field(0.5, description="colour jitter: factor in 1 ± this")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.2, description="colour jitter: turn in ± this share of a circle"
    )
    erasing: Share = Field(0.2, description="probability of erasing a rectangle")
    erasing_fill: Literal["mean", "noise"] = Field(
        "mean", description="mean: ImageNet's mean in normalised space, as the original; noise: each pixel"
    )
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(0.0, description="turn in ± these degrees")
    translation: Share = Field(0.0, description="shift in ± this share of the sides")
    scaling: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="size in 1 ± this")
    policy: Literal["none", "autoaugment", "augmix"] = Field(
        "none", description="a published mixture of operations, before all else"
    )
    cmy: Share = Field(0.0, description="probability of showing cyan, magenta, yellow, black taken out")


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


class Train(Section):
    """The recipe that all models share."""

    epochs: Count = Field(60, description="passes over the training list")
    steps_per_epoch: Count | None = Field(None, description="cut an epoch to this many steps; none: whole")
    batch: Count = Field(224, description="images in a batch: P identities × images_per_identity")
    images_per_identity: Annotated[int, Field(ge=2)] = Field(2, description="K of the P×K sampler")
    optimizer: Literal["ranger", "adam", "adamw", "sgd", "apex_adam", "apex_sgd"] = Field(
        "ranger", description="ranger: RAdam with look-ahead; apex_…: where NVIDIA's apex is installed"
    )
    learning_rate: Positive = Field(0.01, description="of the body, before the schedule")
    head_learning_rate: Positive | None = Field(None, description="of the classifier; none: as the body")
    weight_decay: NotNegative = Field(5.0e-4, description="decoupled for ranger: rate × decay")
    schedule: Schedule = Field(default_factory=Schedule)
    identity_loss: Loss = Field(default_factory=lambda: Loss(name="arcface", scale=30, margin=0.4))
    metric_loss: Loss | None = Field(default_factory=lambda: Loss(name="weighted_triplet"))
    more_losses: tuple[Loss, ...] = Field((), description="further metric losses, e.g. center")
    augment: Augment = Field(default_factory=Augment)
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp16", description="autocast; fp16 needs a GPU")
    clip: Positive | None = Field(None, description="greatest length of the gradient; none: any")
    accumulate: Count = Field(
        1, description="parts a batch is cut into, one after the other: less memory; losses see their part"
    )
    accumulate_to_fit: bool = Field(
        False, exclude_if=not_, description="cut batches into more parts where a GPU's memory is too small"
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="decay of the moving average of weights, which is then what is kept"
    )
    freeze: tuple[str, ...] = Field((), description="patterns of parameters kept, e.g. backbone.layer1.*")
    freeze_epochs: Count | None = Field(None, description="epochs for which they are kept; none: all")
    freeze_norm: bool = Field(
        True, description="batch normalisation among the kept uses and keeps its running statistics"
    )
    sync_norm: bool = Field(
        False, description="batch normalisation over all processes that train together; needs GPUs"
    )
    cameras: str | None = Field(
        None, exclude_if=not_,
        description="pattern of a path whose group is the camera, e.g. _c([0-9]+): K images then show as "
        "many cameras as they can; none: cameras play no part",
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
        recipe: Train = _validated(Train, raw, "recipe")
        return recipe

    @field_validator("cameras")
    @classmethod
    def _a_pattern(cls, cameras: str | None) -> str | None:
        try:
            groups = 1 if cameras is None else re.compile(cameras).groups
        except re.error as error:
            raise ValueError(f"{cameras!r} is no regular expression: {error}") from error
        _require(groups == 1, f"{cameras!r} must have one group ( ) around the camera")
        return cameras

    @model_validator(mode="after")
    def _groups(self) -> Self:
        names = [loss.name for loss in (self.identity_loss, self.metric_loss, *self.more_losses) if loss]
        _require(len(set(names)) == len(names), "two of the losses have the same name")
        strange = [loss.name for loss in self.more_losses if loss.name not in METRIC_LOSSES]
        _require(not strange, f"more_losses {strange} are none of {', '.join(METRIC_LOSSES)}")
        _require(
            self.batch // self.images_per_identity >= 2 * self.accumulate,
            f"accumulate {self.accumulate} leaves parts of the batch with fewer than 2 identities",
        )
        _require(
            self.batch % self.images_per_identity == 0,
            f"batch {self.batch} is not a multiple of images_per_identity {self.images_per_identity}",
        )
        _require(
            self.identity_loss.name in IDENTITY_LOSSES,
            f"identity_loss {self.identity_loss.name} is none; there are {', '.join(IDENTITY_LOSSES)}",
        )
        _require(
            self.metric_loss is None or self.metric_loss.name in METRIC_LOSSES,
            f"metric_loss is none of {', '.join(METRIC_LOSSES)}",
        )
        return self


class Extract(Section):
    """How features are taken from a trained model."""

    flip: bool = Field(True, description="add the mirrored image's feature before normalising")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the network; features are fp32 on disk"
    )
    stripes_weight: Positive = Field(
        1.0, exclude_if=(1.0).__eq__,
        description="of the stripes' distance, beside 1 for the whole image's, in models with stripes",
    )  # fmt: skip


class Expand(Section):
    """Query expansion: every feature moves towards its nearest (αQE, Radenović et al. 2018)."""

    over: Count = Field(5, description="nearest images summed, the image itself among them; fast-reid: 5")
    alpha: Annotated[float, Field(ge=0)] = Field(
        3.0, description="they count by cosine to this power; 0: equally (AQE); fast-reid: 3"
    )


class Search(Section):
    """Nearest neighbours within query ∪ gallery."""

    engine: Literal["exact", "faiss-flat", "faiss-ivf", "faiss-hnsw"] = Field(
        "exact", description="ivf and hnsw are approximate, for galleries beyond exact search"
    )
    effort: Count = Field(64, description="of approximate engines: cells looked into, candidates followed")
    keep: Count = Field(64, description="neighbours kept of each row; at least k1 + 1 of every domain")


class Rerank(Section):
    """k-reciprocal re-ranking of one domain (Zhong et al. 2017)."""

    k1: Count = Field(30, description="neighbours that must be mutual")
    k2: Count = Field(2, description="neighbours averaged in query expansion; 1: none")
    lambda_: Share = Field(
        0.8, alias="lambda", description="weight of the original distance; 1: no re-ranking"
    )
    norm: Literal["rowmax", "none"] = Field(
        "rowmax", description="distances over their row's largest; none: as fast-reid's evaluator"
    )
    power: Annotated[int, Field(ge=1, le=2)] = Field(
        1, description="exponent of the squared distance; 2: as torchreid"
    )
    count_self: bool = Field(False, description="k1 counts the image itself, as in fast-reid's evaluator")


class Ensemble(Section):
    """Which checkpoints of every model are members of the fusion."""

    epochs: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (40, 50), description="epochs (from 1) whose checkpoints are kept and fused"
    )


class Fuse(Section):
    """The weighted sum of the members' distances."""

    best: Count = Field(200, description="gallery images listed for each query")
    of: Literal["distances", "features"] = Field(
        "distances", description="sum the members' distances, or re-rank once by all features side by side"
    )


class Shards(Section):
    """Jobs that share one file of a step: they make parts, `gather` joins them; never another result."""

    extract: Count = Field(1, description="jobs for one list and checkpoint, in whole batches")
    search: Count = Field(1, description="jobs for one member and domain; needs search.engine: exact")
    rerank: Count = Field(1, description="jobs for one member and domain")


class Adopt(Section):
    """Pseudo-labels: a second round trains on test images, too. Competitions may forbid it."""

    rule: Literal["mutual", "nearest"] = Field(
        "mutual",
        description="a gallery image is taken for its nearest query; mutual: if it is near that one's best",
    )
    threshold: Annotated[float, Field(gt=0, lt=1.5)] = Field(
        0.3, description="radians between two images of one person, at most"
    )
    among: Count = Field(10, description="mutual: among so many nearest of its query")
    most: Count = Field(
        8, description="queries near each other are one person, up to this many; 1: never, as the original"
    )
    domains: tuple[Name, ...] = Field((), description="domains it is done in; none: all; original: [green]")


class Config(Section):
    """One result: every setting that changes it; and into how many jobs its making is cut."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(1234, description="of every random draw")
    toy: Toy | None = Field(None, description="draw the images; none: they lie in the data folder")
    collect: Collect
    dedupe: Dedupe = Field(default_factory=Dedupe)
    holdout: Holdout = Field(default_factory=Holdout)
    split: Split = Field(default_factory=Split)
    models: Annotated[dict[Name, Model], Field(min_length=1)] = Field(description="networks, by name")
    """In the order of their names, and so are members: the order in the file means nothing."""
    train: Train = Field(default_factory=Train)
    ensemble: Ensemble = Field(default_factory=Ensemble)
    extract: Extract = Field(default_factory=Extract)
    expand: Expand | None = Field(None, description="of query and gallery, before the search; none: no")
    search: Search = Field(default_factory=Search)
    rerank: dict[Name, Rerank] = Field(description="re-ranking, by domain")
    fuse: Fuse = Field(default_factory=Fuse)
    adopt: Adopt | None = Field(None, description="a second round of training; none: one round")
    shards: Shards = Field(default_factory=Shards)

    @property
    def domains(self) -> tuple[str, ...]:
        """Every domain that is searched: the competition's, and the hold-out where there is one."""
        return (*self.split.domains, HOLDOUT) if self.holdout.share else self.split.domains

    @field_validator("models", mode="after")
    @classmethod
    def _in_the_order_of_names(cls, models: dict[str, Model]) -> dict[str, Model]:
        return dict(sorted(models.items()))

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> Self:
        missing = [domain for domain in self.domains if domain not in self.rerank]
        _require(not missing, f"rerank has no entry for the domain {', '.join(missing)}")
        idle = [domain for domain in self.rerank if domain not in self.domains]
        _require(
            not idle, f"rerank.{', '.join(idle)} is no domain of this config ({', '.join(self.domains)})"
        )
        for domain, rerank in self.rerank.items():
            _require(
                self.search.keep >= rerank.k1 + 1,
                f"search.keep {self.search.keep} must be at least rerank.{domain}.k1 + 1 = {rerank.k1 + 1}",
            )
        _require(
            self.collect.decode or not self.dedupe.by_pixels,
            "dedupe.by_pixels compares decoded pixels and needs collect.decode: true",
        )
        _require(
            self.shards.search == 1 or self.search.engine == "exact",
            f"shards.search {self.shards.search}: {self.search.engine} searches in one piece, exact need not",
        )
        strange = sorted(set(self.adopt.domains if self.adopt else ()) - set(self.split.domains))
        _require(not strange, f"adopt.domains {strange} are none of {', '.join(self.split.domains)}")
        known = {source.name for source in self.collect.sources}
        _require(
            not (self.adopt and "adopted" in known), "a source is called adopted, as adopt's persons are"
        )
        unknown = sorted(set(self.dedupe.wrong_label_sources) - known)
        _require(
            not unknown, f"dedupe.wrong_label_sources {unknown} are not in collect.sources {sorted(known)}"
        )
        for (one, first), (other, second) in itertools.combinations(self.models.items(), 2):
            _require(
                first.model_copy(update={"weight": second.weight}) != second,
                f"models.{one} and models.{other} are the same network: give one a larger weight instead",
            )
        for name, model in self.models.items():
            _require(
                bool(model.pretrained) or not model.carry_classes,
                f"models.{name}.carry_classes needs pretrained: a checkpoint of this project",
            )
            try:
                epochs = self.train.adapted(model.recipe).epochs
            except ReidError as error:
                raise ValueError(f"models.{name}.{error}") from None
            late = [epoch for epoch in self.ensemble.epochs if epoch > epochs]
            _require(not late, f"ensemble.epochs {late} lie beyond train.epochs {epochs} of models.{name}")
        return self


def load(path: Path) -> Config:
    """The config in a YAML file.

    Raises:
        ReidError: the file cannot be read, is not YAML, or has wrong settings; all of them are listed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReidError(f"{path}: cannot be read: {error}; name an existing config with --config") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Config:
    """The config in a YAML text; `name` is what errors call it."""
    try:
        raw = yaml.load(text, Loader=_Strict)
    except yaml.YAMLError as error:
        raise ReidError(f"{name}: not a config: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ReidError(f"{name}: not a config: its values are nested too deep") from error
    if not isinstance(raw, dict):
        raise ReidError(f"{name}: not a config: it must be a table of sections, such as `seed: 1234`")
    config: Config = _validated(Config, raw, name)
    return config


def typed(annotations: Mapping[str, Any], raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Plain values as sections of the annotated types; `name` is what errors call them."""
    fields: dict[str, Any] = {key: (hint, ...) for key, hint in annotations.items()}
    whole = create_model("Settings", __base__=Section, **fields)
    checked = _validated(whole, dict(raw), name)
    return {key: getattr(checked, key) for key in annotations}


def describe() -> str:
    """Every setting with its default and meaning, as an indented outline."""
    lines: list[str] = []
    _outline(Config, "", lines)
    return "\n".join(lines)


class _Strict(yaml.SafeLoader):
    """YAML without the surprises: no repeated keys, no aliases, and numbers that are numbers."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"line {line}: aliases (*name) are not supported: write the values out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.YAMLError(
                    f"the key {key.value!r} stands twice, again on line {key.start_mark.line + 1}"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if node.style is None and node.tag == "tag:yaml.org,2002:str" and _exponent_without_point(value):
            mantissa, exponent = value.lower().split("e")
            number = f"{float(mantissa)}e{exponent}"
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"line {line}: YAML reads {value} as text: write {number}")
        return value


def _exponent_without_point(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return "e" in value.lower()


def _validated(kind: type[BaseModel], raw: Any, name: str) -> Any:
    try:
        # Through JSON: YAML's lists become tuples, while 1 stays no bool and "3" no number.
        return kind.model_validate_json(json.dumps(raw), strict=True)
    except TypeError as error:
        raise ReidError(f"{name}: not a config: {error}") from error
    except ValidationError as error:
        problems = [_sentence(kind, problem) for problem in error.errors()]
        raise listing(problems, f"{name}: wrong settings") from error


def _sentence(kind: type[BaseModel], problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "(whole)"
    if problem["type"] == "extra_forbidden":
        known = _keys_at(kind, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" + ("" if problem["type"] == "value_error" else f", not {problem['input']!r}")


def _keys_at(kind: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    """The keys of the section at a dotted place, found by walking the annotations."""
    current: Any = kind
    for part in place:
        fields = _fields(current)
        if isinstance(part, str) and part in fields:
            current = _section_in(fields[part])
    return sorted(_fields(current))


def _fields(kind: Any) -> dict[str, Any]:
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return {}
    return {info.alias or name: info.annotation for name, info in kind.model_fields.items()}


def _section_in(annotation: Any) -> Any:
    """The section class inside an annotation such as `Loss | None` or `dict[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_in(inner)
        if found is not None:
            return found
    return None


def _outline(kind: type[BaseModel], indent: str, lines: list[str]) -> None:
    for name, info in kind.model_fields.items():
        inner = _section_in(info.annotation)
        is_table = str(info.annotation).startswith(("dict", "typing.Annotated[dict", "tuple"))
        meaning = info.description or (inner.__doc__ or "").split("\n")[0]
        default = (
            "" if info.is_required() or inner else f" [{_shown(info.get_default(call_default_factory=True))}]"
        )
        lines.append(f"{indent}{info.alias or name}:{default}  {meaning}")
        if inner is not None:
            if is_table:
                lines.append(f"{indent}  (each entry)")
            _outline(inner, indent + ("    " if is_table else "  "), lines)


def _shown(value: Any) -> str:
    return json.dumps(value)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
