"""The members of an ensemble, read from their files: every model's every fused epoch, with its weight."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from naic_reid import lineage
from naic_reid.artifacts import Features, Floats, ImageList, JaccardRows, MadeBy
from naic_reid.config import Ensemble, Model, Rerank
from naic_reid.errors import ReidError
from naic_reid.retrieval.distances import Member
from naic_reid.retrieval.rerank import Reranking


class Name(NamedTuple):
    """Which member: a model's checkpoint, and the weight of its distances in the sum."""

    model: str
    epoch: int
    weight: float

    def __str__(self) -> str:
        return f"{self.model}/epoch_{self.epoch}"


class Files(NamedTuple):
    """One file a member, in the order of `names`; no Jaccard files where distances stay plain."""

    query: Sequence[Path]
    gallery: Sequence[Path]
    jaccard: Sequence[Path] = ()

    @property
    def all(self) -> list[Path]:
        return [*self.query, *self.gallery, *self.jaccard]


class Read(NamedTuple):
    """Members, and the names of their images."""

    members: list[Member]
    queries: tuple[str, ...]
    galleries: tuple[str, ...]


def names(models: Mapping[str, Model], ensemble: Ensemble) -> list[Name]:
    """Models in the order of the config, then their epochs: the order of all lists of members' files."""
    return [Name(name, epoch, model.weight) for name, model in models.items() for epoch in ensemble.epochs]


def require_one_each(stage: str, named: Sequence[Name], files: Files, domains: int = 1) -> None:
    """Refuse lists of files that are not one a member and domain.

    Raises:
        ReidError: there are more or fewer.
    """
    counts = {len(files.query), len(files.gallery)} | ({len(files.jaccard)} if files.jaccard else set())
    if counts != {domains * len(named)}:
        jaccard = f", {len(files.jaccard)} Jaccard" if files.jaccard else ""
        raise ReidError(
            f"{stage}: {domains} domains of {len(named)} members, but {len(files.query)} query, "
            f"{len(files.gallery)} gallery{jaccard} files: give one of each for every domain, model and "
            "epoch, in that order"
        )


def read(
    models: Mapping[str, Model],
    ensemble: Ensemble,
    files: Files,
    reader: MadeBy,
    *,
    lists: tuple[ImageList, ImageList] | None = None,
    device: str = "cpu",
) -> Read:
    """The members of one domain, checked against each other, the config and the lists of images.

    Args:
        models: of the config.
        ensemble: of the config.
        files: of the members.
        reader: record of what is being made from all files, which are among its inputs.
        lists: of query and gallery images; none: all members must agree.
        device: where their distances are computed.

    Raises:
        ReidError: files are not those of their member, of its features or of the images.
    """
    jaccard: Sequence[Path | None] = files.jaccard or [None] * len(files.query)
    members: list[Member] = []
    known: list[tuple[str, ...]] = []
    for name, one, other, rows in zip(
        names(models, ensemble), files.query, files.gallery, jaccard, strict=True
    ):
        pair = paired(one, other)
        for side, path, features in zip((0, 1), (one, other), pair, strict=True):
            if lists and features.names not in (lists[side].names, lists[side].paths):
                raise ReidError(f"{path}: its images are not those of the list: extract the features again")
            if not lists and known and features.names != known[side]:
                raise ReidError(
                    f"{path}: its images are not those of the first member: extract all from one list"
                )
            lineage.check_network(
                path, features.made_by, name.model, models[name.model].model_dump(), name.epoch
            )
        known = [features.names for features in pair]
        overlap = _overlap(rows, reader, [one, other], (len(known[0]), len(known[1]))) if rows else None
        values = pair[0].values, pair[1].values
        members.append(Member(*values, overlap, name.weight, device, regions=pair[0].regions))
    return Read(members, known[0], known[1])


def paired(query: Path, gallery: Path) -> tuple[Features, Features]:
    """The features of query and gallery images, of one kind.

    Raises:
        ReidError: one file cannot be read; or the two end in different numbers of masses of regions.
    """
    of_query, of_gallery = Features.read(query), Features.read(gallery)
    if of_query.regions != of_gallery.regions:
        raise ReidError(
            f"{gallery}: features of {of_gallery.regions} regions, and {query} of {of_query.regions}: "
            "extract both with one model"
        )
    return of_query, of_gallery


def _overlap(path: Path, reader: MadeBy, features: list[Path], shape: tuple[int, int]) -> JaccardRows:
    rows = JaccardRows.read(path)
    lineage.agree(path, rows.made_by, reader, features)
    if rows.similarity.shape != shape:
        raise ReidError(
            f"{path}: made for {rows.similarity.shape} images: run rerank on these features again"
        )
    return rows


def reranking(settings: Rerank) -> Reranking:
    """How re-ranked distances are made, by the config."""
    return Reranking(**settings.model_dump())


def side_by_side(
    members: Sequence[Member], settings: Rerank, *, device: str, threads: int, memory: int
) -> Member:
    """One member with all features side by side, re-ranked once, in the place of the members' sum."""
    query, gallery = concatenated(members)
    rows = reranking(settings).of_features(query, gallery, device=device, threads=threads, memory=memory)
    return Member(query, gallery, rows, device=device)


def concatenated(members: Sequence[Member]) -> tuple[Floats, Floats]:
    """Query and gallery features [Q, ΣD], [G, ΣD]; their distance is the members' weighted mean.

    Each member's unit rows times the root of its share of the weights, side by side; held in memory.

    Raises:
        ReidError: a member's rows end in masses of regions, whose distance is no product of rows.
    """
    if any(member.vectors.regions for member in members):
        raise ReidError(
            "fuse.of features: features of visible regions cannot stand side by side with others: set "
            "fuse.of: distances"
        )
    total = sum(member.weight for member in members)
    num_query, num_gallery = members[0].vectors.num_query, members[0].vectors.num_gallery
    parts = [
        member.vectors.unit(0, num_query + num_gallery).cpu().numpy()
        * np.float32((member.weight / total) ** 0.5)
        for member in members
    ]
    both = np.concatenate(parts, axis=1)
    return both[:num_query], both[num_query:]
