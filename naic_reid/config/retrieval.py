"""Settings of features, search, re-ranking, fusion and pseudo-labels."""

from operator import not_
from typing import Annotated, Final, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from naic_reid.architecture import SCALES, Pixels
from naic_reid.config.section import Count, Name, Positive, Section, Share, require

Scale = Annotated[float, Field(ge=SCALES[0], le=SCALES[1])]
Area = Annotated[float, Field(ge=0.25, le=4)]


class Channels(Section):
    """Fewer numbers for each feature, without another weight."""

    keep: Count = Field(description="so many, a divisor of the feature's length")
    by: Literal["every", "mean"] = Field(
        "every", description="every n-th channel, or the means of n neighbours"
    )


class Extract(Section):
    """How features are taken from a trained model."""

    flip: bool = Field(True, description="add the mirrored image's feature before normalising")
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        "fp32", description="of the network's products, as train.precision; features are fp32 on disk"
    )
    stripes_weight: Positive = Field(
        1.0, exclude_if=(1.0).__eq__,
        description="of the stripes' distance, beside 1 for the whole image's, in models with stripes",
    )  # fmt: skip
    geometry: Literal["resize", "crop", "pad"] = Field(
        "resize", exclude_if="resize".__eq__,
        description="how pictures come to the input: stretched to it; or as large as fits inside, which is "
        "all the network sees (crop) or lies on a blank input (pad): for partial persons",
    )  # fmt: skip
    widen: Annotated[float, Field(ge=0.1, le=10)] = Field(
        1.0,
        exclude_if=(1.0).__eq__,
        description="crop, pad: factor of pictures' widths before they are fitted",
    )
    size: tuple[Pixels, Pixels] | None = Field(
        None, exclude_if=not_, description="height and width of the input in pixels; none: as trained"
    )
    scales: Annotated[tuple[Area, ...], Field(min_length=1, max_length=8)] = Field(
        (1.0,), exclude_if=(1.0,).__eq__,
        description="multi-scale testing: inputs of so many times as many pixels, whose features are summed "
        "before normalising; e.g. [1, 1.1]",
    )  # fmt: skip

    border: Literal["zero", "blank", "masked"] = Field(
        "zero", exclude_if="zero".__eq__,
        description="plain ResNets: what lies outside of a map: 0, as trained; what a blank image would have "
        "there; or masked: of pad's input the network sees the picture alone",
    )  # fmt: skip
    pool_over: Literal["input", "picture"] = Field(
        "input", exclude_if="input".__eq__, description="border masked: positions that are pooled"
    )
    scale: tuple[Scale, Scale] | Literal["size", "predicted"] | None = Field(
        None, exclude_if=not_,
        description="plain ResNets: taps of kernels so much further apart, down and across; size: as much as "
        "the input is larger than in training; predicted: as each model's ratio tells of an image; none: 1",
    )  # fmt: skip

    channels: Channels | None = Field(
        None, exclude_if=not_, description="shorter features; none: all their numbers"
    )

    @model_validator(mode="after")
    def _the_picture_is_known(self) -> Self:
        require(
            self.border != "masked" or self.geometry == "pad",
            f"border masked: what geometry {self.geometry} gives is all picture: use pad, or border zero",
        )
        require(
            self.pool_over == "input" or self.border == "masked",
            f"pool_over picture: with border {self.border} the rest of the input changes it: set masked",
        )
        require(
            self.scale != "predicted" or self.geometry == "resize",
            f"scale predicted: geometry {self.geometry} stretches no picture: use resize, or leave scale out",
        )
        require(self.scale != "size" or self.size is not None, "scale size: size is as trained: leave it out")
        return self

    @model_validator(mode="after")
    def _each_scale_means_something(self) -> Self:
        require(len(set(self.scales)) == len(self.scales), f"scales {list(self.scales)}: one stands twice")
        one = self.scales == (1.0,)
        require(one or self.border != "masked", "scales: border masked knows one size of its maps: use blank")
        require(one or not self.scale, "scales: taps are spread (scale) for inputs of one size: give one")
        return self

    @model_validator(mode="after")
    def _stretched_pictures_are_not_widened(self) -> Self:
        idle = self.geometry == "resize" and self.widen != 1
        require(
            not idle, f"widen {self.widen:g}: geometry resize stretches to the input anyway: leave it out"
        )
        return self


class QueryExpansion(Section):
    """Query expansion: every feature moves towards its nearest (αQE, Radenović et al. 2018)."""

    k: Count = Field(5, description="nearest images summed, the image itself among them; fast-reid: 5")
    alpha: Annotated[float, Field(ge=0)] = Field(
        3.0, description="they count by cosine to this power; 0: equally (AQE); fast-reid: 3"
    )


class Search(Section):
    """Nearest neighbours within query ∪ gallery."""

    engine: Literal["exact", "faiss-flat", "faiss-ivf", "faiss-hnsw"] = Field(
        "exact", description="ivf and hnsw are approximate, for galleries beyond exact search"
    )
    nprobe: Count = Field(64, description="faiss-ivf: cells looked into")
    ef_search: Count = Field(64, description="faiss-hnsw: candidates followed")
    keep: Count = Field(
        64, description="neighbours kept of each row; at least k1 + 1, and k2, of every domain"
    )

    @model_validator(mode="after")
    def _effort_fits_the_engine(self) -> Self:
        for word, engine in (("nprobe", "faiss-ivf"), ("ef_search", "faiss-hnsw")):
            idle = self.engine != engine and getattr(self, word) != type(self).model_fields[word].default
            require(not idle, f"{word} is a word of {engine}, and engine is {self.engine}: leave it out")
        return self


K_RECIPROCAL: Final = "k_reciprocal"


class Rerank(Section):
    """Re-ranking of one domain: k-reciprocal (Zhong et al. 2017), or by the graph of neighbours."""

    method: Literal["k_reciprocal", "graph"] = Field(
        K_RECIPROCAL, exclude_if=K_RECIPROCAL.__eq__,
        description="graph: propagation among neighbours (arXiv 2012.07620; Market: 26, 7, 0.3)",
    )  # fmt: skip
    k1: Count = Field(30, description="neighbours that must be mutual; graph: that are linked")
    k2: Count = Field(2, description="neighbours averaged in query expansion, 1: none; graph: gathered from")
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

    @model_validator(mode="after")
    def _words_fit_the_method(self) -> Self:
        if self.method == "graph":
            require(self.k2 > 1, "k2: method graph gathers from 2 neighbours at least")
            idle = [word for word in ("norm", "power", "count_self")
                    if getattr(self, word) != type(self).model_fields[word].default]  # fmt: skip
            require(not idle, f"{', '.join(idle)}: words of method k_reciprocal: leave them out")
        return self


class Ensemble(Section):
    """Which checkpoints of every model are members of the fusion."""

    epochs: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (40, 50), description="epochs (from 1) whose checkpoints are kept and fused"
    )

    @field_validator("epochs")
    @classmethod
    def _each_once(cls, epochs: tuple[int, ...]) -> tuple[int, ...]:
        twice = sorted({epoch for epoch in epochs if epochs.count(epoch) > 1})
        require(not twice, f"{twice} stand twice: a checkpoint is a member once; weights are a model's")
        return epochs


class Fuse(Section):
    """The weighted sum of the members' distances."""

    best: Count = Field(200, description="gallery images listed for each query")
    of: Literal["distances", "features"] = Field(
        "distances", description="sum the members' distances, or re-rank once by all features side by side"
    )


Percent = Annotated[float, Field(ge=0, le=100)]


class Published(Section):
    """What others state of a test: in percent, as they print it."""

    source: str = Field("published", description="who states it, in a word or two")
    R1: Percent | None = Field(None, description="percent; none: not stated")
    R5: Percent | None = Field(None, description="likewise")
    R10: Percent | None = Field(None, description="likewise")
    mAP: Percent | None = Field(None, description="likewise")  # noqa: N815
    mINP: Percent | None = Field(None, description="likewise")  # noqa: N815


class Report(Section):
    """The page with score card, ranked lists, curves and what they were made from."""

    queries: Count = Field(500, description="whose lists are shown, the worst")
    best: Annotated[int, Field(ge=1, le=20)] = Field(10, description="gallery images shown for each")
    megabytes: Positive = Field(
        15.0, description="of the page at most: pictures shrink to fit, and the last are left out"
    )
    heat: Annotated[int, Field(ge=0)] = Field(
        20, exclude_if=(20).__eq__,
        description="worst queries for whose pictures it can show where the first model looked; 0: none",
    )  # fmt: skip


class Shards(Section):
    """Jobs that share one file of a step: they make parts, `gather` joins them; never another result."""

    extract: Count = Field(1, description="jobs for one list and checkpoint, in whole batches")
    search: Count = Field(1, description="jobs for one member and domain; needs search.engine: exact")
    rerank: Count = Field(1, description="jobs for one member and domain")


class PseudoLabel(Section):
    """Pseudo-labels: a second round trains on test images, too. Competitions may forbid it."""

    rule: Literal["mutual", "nearest"] = Field(
        "mutual",
        description="a gallery image is taken for its nearest query; mutual: if it is near that one's best",
    )
    threshold: Annotated[float, Field(gt=0, lt=1.5)] = Field(
        0.3,
        description="radians between two images of one person, at most, of expanded features where they are",
    )
    gallery_rank: Count = Field(10, description="mutual: among so many nearest of its query")
    max_queries: Count = Field(
        8, description="queries near each other are one person, up to this many; 1: never, as the original"
    )
    domains: tuple[Name, ...] = Field((), description="domains it is done in; none: all; original: [green]")
