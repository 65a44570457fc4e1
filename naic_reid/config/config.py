"""The whole: every section, and what two of them may contradict each other in."""

import itertools
from operator import not_
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from naic_reid.config.data import Collect, Cut, Dedupe, Holdout, Split, Test, Toy
from naic_reid.config.model import Model
from naic_reid.config.retrieval import (
    Ensemble,
    Extract,
    Fuse,
    PseudoLabel,
    Published,
    QueryExpansion,
    Report,
    Rerank,
    Search,
    Shards,
)
from naic_reid.config.section import HOLDOUT, Name, Section, require
from naic_reid.config.training import METRIC_LOSSES, Train
from naic_reid.errors import ReidError

SUBMITTED = 200  # names the competition reads of each list; a test keeps it and the room's equal


class Config(Section):
    """One result: every setting that changes it; and into how many jobs its making is cut."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(1234, description="of every random draw")
    toy: Toy | None = Field(None, description="draw the images; none: they lie in the data folder")
    collect: Collect
    dedupe: Dedupe = Field(default_factory=Dedupe)
    holdout: Holdout = Field(default_factory=Holdout)
    split: Split | None = Field(
        None,
        description="the competition's round; none: no submission; neither this nor tests: NAIC's folders",
    )
    tests: dict[Name, Test] = Field({}, exclude_if=not_, description="labelled test sets, by name")
    """In the order of their names."""
    cut: dict[Name, Cut] = Field(
        {}, exclude_if=not_, description="tests of partial bodies, by name: further domains"
    )
    """In the order of their names."""
    models: Annotated[dict[Name, Model], Field(min_length=1)] = Field(description="networks, by name")
    """In the order of their names, and so are members: the order in the file means nothing."""
    train: Train = Field(default_factory=Train)
    ensemble: Ensemble = Field(default_factory=Ensemble)
    extract: Extract = Field(default_factory=Extract)
    query_expansion: QueryExpansion | None = Field(
        None, description="of query and gallery, before the search; none: no"
    )
    search: Search = Field(default_factory=Search)
    rerank: dict[Name, Rerank] = Field(description="re-ranking, by domain")
    fuse: Fuse = Field(default_factory=Fuse)
    pseudo_label: PseudoLabel | None = Field(None, description="a second round of training; none: one round")
    report: Report | None = Field(
        default_factory=Report, description="results/report/index.html, the last step; none: no page"
    )
    shards: Shards = Field(default_factory=Shards)
    published: dict[Name, Published] = Field(
        {}, exclude_if=not_, description="scores that others state, by domain: beside ours on the card"
    )

    @property
    def competition(self) -> tuple[str, ...]:
        """The domains of the competition's round, which the submission answers."""
        return self.split.domains if self.split else ()

    @property
    def domains(self) -> tuple[str, ...]:
        """Every domain that is searched: the competition's, labelled tests, the hold-out, partial bodies."""
        return (*self.competition, *self.tests, *((HOLDOUT,) if self.holdout.asked else ()), *self.cut)

    @property
    def protocols(self) -> dict[str, str]:
        """By what rule each domain is scored. Of lists without cameras `market` removes nothing."""
        whole = {
            **dict.fromkeys(self.competition, "naic"),
            **{name: test.rule for name, test in self.tests.items()},
            HOLDOUT: "market",
        }
        return whole | {name: whole[cut.of] for name, cut in self.cut.items()}

    @field_validator("models", "tests", "cut", mode="after")
    @classmethod
    def _in_the_order_of_names(cls, table: dict[str, Any]) -> dict[str, Any]:
        return dict(sorted(table.items()))

    @model_validator(mode="after")
    def _domains_are_known(self) -> Self:
        taken = sorted(self.tests.keys() & {*self.competition, HOLDOUT})
        require(not taken, f"tests.{', '.join(taken)}: the name is that of another domain: take another")
        whole = (*self.tests, *((HOLDOUT,) if self.holdout.asked else ()))
        for name, cut in self.cut.items():
            require(
                name not in (*self.competition, *self.tests, HOLDOUT),
                f"cut.{name}: the name is that of another domain: take another",
            )
            known = ", ".join(whole) or "none"
            require(cut.of in whole, f"cut.{name}.of: {cut.of} is no labelled test of this config ({known})")
        require(bool(self.domains), "nothing is searched: give split, tests or holdout.share")
        missing = [domain for domain in self.domains if domain not in self.rerank]
        require(not missing, f"rerank has no entry for the domain {', '.join(missing)}")
        idle = [domain for domain in self.rerank if domain not in self.domains]
        require(not idle, f"rerank.{', '.join(idle)} is no domain of this config ({', '.join(self.domains)})")
        stated = sorted(self.published.keys() - {*self.domains})
        require(
            not stated,
            f"published.{', '.join(stated)} is no domain of this config ({', '.join(self.domains)})",
        )
        labelled = set(self.pseudo_label.domains if self.pseudo_label else ())
        able = (*self.competition, *self.tests)
        strange = sorted(labelled - set(able))
        require(not strange, f"pseudo_label.domains {strange} are none of {', '.join(able)}")
        require(
            not self.pseudo_label or bool(labelled or self.competition),
            "pseudo_label.domains: name the tests whose images are taken; the competition's are by default",
        )
        return self

    @model_validator(mode="after")
    def _sources_are_known(self) -> Self:
        known = {source.name for source in self.collect.sources}
        require(
            not (self.pseudo_label and "pseudo" in known),
            "a source is called pseudo, as the persons of pseudo_label are",
        )
        unknown = sorted(set(self.dedupe.wrong_label_sources) - known)
        require(
            not unknown, f"dedupe.wrong_label_sources {unknown} are not in collect.sources {sorted(known)}"
        )
        require(
            bool(self.dedupe.wrong_labels) == bool(self.dedupe.wrong_label_sources),
            "dedupe.wrong_labels and wrong_label_sources go together: a file, and the sources it speaks of",
        )
        require(
            self.collect.decode or not self.dedupe.by_pixels,
            "dedupe.by_pixels compares decoded pixels and needs collect.decode: true",
        )
        return self

    @model_validator(mode="after")
    def _search_serves_rerank(self) -> Self:
        for domain, rerank in self.rerank.items():
            require(
                self.search.keep >= rerank.k1 + 1,
                f"search.keep {self.search.keep} must be at least rerank.{domain}.k1 + 1 = {rerank.k1 + 1}",
            )
            require(
                self.search.keep >= rerank.k2,
                f"search.keep {self.search.keep} must be at least rerank.{domain}.k2 = {rerank.k2}",
            )
        require(
            self.shards.search == 1 or self.search.engine == "exact",
            f"shards.search {self.shards.search}: {self.search.engine} searches in one piece, exact need not",
        )
        return self

    @model_validator(mode="after")
    def _the_submission_is_whole(self) -> Self:
        require(
            self.split is None or self.fuse.best >= SUBMITTED,
            f"fuse.best {self.fuse.best}: a submission lists {SUBMITTED} of the gallery, or all there are",
        )
        return self

    @model_validator(mode="after")
    def _no_word_is_idle(self) -> Self:
        require(
            self.extract.stripes_weight == 1 or any(model.stripes for model in self.models.values()),
            "extract.stripes_weight: none of the models has stripes",
        )
        return self

    @model_validator(mode="after")
    def _models_fit_their_recipes(self) -> Self:
        for (one, first), (other, second) in itertools.combinations(self.models.items(), 2):
            require(
                first.model_copy(update={"weight": second.weight}) != second,
                f"models.{one} and models.{other} are the same network: give one a larger weight instead",
            )
        for name, model in self.models.items():
            require(
                bool(model.pretrained) or not model.carry_classes,
                f"models.{name}.carry_classes needs pretrained: a checkpoint of this project",
            )
            try:
                train = self.train.adapted(model.recipe)
            except ReidError as error:
                raise ValueError(f"models.{name}.{error}") from None
            judged = [loss.name for loss in (train.metric_loss, *train.more_losses) if loss]
            metric = [one for one in judged if one in METRIC_LOSSES]
            require(
                model.head != "pcb" or not metric,
                f"models.{name}.head: pcb has identity losses alone: set metric_loss: null, and no "
                f"{', '.join(metric)}",
            )
            late = [epoch for epoch in self.ensemble.epochs if epoch > train.epochs]
            require(
                not late, f"ensemble.epochs {late} lie beyond train.epochs {train.epochs} of models.{name}"
            )
            if self.toy and train.attributes:
                table = train.attributes.table
                require(
                    table.endswith(".csv") and "/" not in table and table != "truth.csv",
                    f"train.attributes.table {table} of models.{name}: toy writes the table itself, beside "
                    "its images: call it attributes.csv",
                )
            idle = train.schedule.beyond(train.epochs)
            require(not idle, f"train.schedule of models.{name}: {idle} beyond train.epochs {train.epochs}")
        return self

    @model_validator(mode="after")
    def _visible_regions_are_served(self) -> Self:
        for name, model in self.models.items():
            train = self.train.adapted(model.recipe)
            judged = {"metric_loss": train.metric_loss} | {
                f"more_losses[{place}]": loss for place, loss in enumerate(train.more_losses)
            }
            for place, loss in judged.items():
                sees = loss is not None and loss.name == "visible_triplet"
                judges = loss is not None and loss.name in METRIC_LOSSES
                require(
                    not judges or sees == bool(model.regions),
                    f"{place} of models.{name}: visible regions are judged by visible_triplet and no other: "
                    + ("take it, or none" if model.regions else "take another, or set regions"),
                )
            words = {
                "search.engine": (self.search.engine, "exact"),
                "fuse.of": (self.fuse.of, "distances"),
                "extract.channels": (self.extract.channels, None),
                "extract.border": (self.extract.border, "zero"),
                "extract.scale": (self.extract.scale, None),
                f"train.metric_on of models.{name}": (train.metric_on, "embedding"),
                f"train.augment.crop_then of models.{name}": (train.augment.crop_then, "stretch"),
            }
            for word, (given, served) in words.items() if model.regions else ():
                require(
                    given == served,
                    f"{word}: {given}: not with the visible regions of models.{name}: "
                    + ("leave it out" if served is None else f"set {served}"),
                )
        return self

    @model_validator(mode="after")
    def _ratios_are_learnt_and_asked(self) -> Self:
        for name, model in self.models.items():
            train = self.train.adapted(model.recipe)
            require(
                bool(model.ratio) or (train.ratio is None and train.taps != "predicted"),
                f"models.{name}.ratio: train.ratio and taps: predicted need it: give it a layer",
            )
            require(
                train.taps != "known" or train.augment.stretches,
                f"train.taps known, of models.{name}: augment.crop_keep stretches no part: lower it, or "
                "crop_keep_x",
            )
            require(
                not model.ratio or train.ratio is not None or train.taps == "predicted",
                f"models.{name}.ratio: nothing teaches it: set train.ratio, or train.taps: predicted",
            )
            require(
                bool(model.ratio) or self.extract.scale != "predicted",
                f"extract.scale predicted: models.{name} has no ratio: set models.{name}.ratio",
            )
            require(
                train.taps == "none" or train.teacher is None,
                f"train.teacher of models.{name}: it does not know taps: {train.taps}: leave one out",
            )
        return self

    @model_validator(mode="after")
    def _pictures_are_larger_than_their_border(self) -> Self:
        for name, model in self.models.items():
            pad, side = self.train.adapted(model.recipe).augment.pad, min(model.height, model.width)
            require(
                pad < side,
                f"train.augment.pad {pad} of models.{name}: it must be less than the shorter side, {side}",
            )
        return self
