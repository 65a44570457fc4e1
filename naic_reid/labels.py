"""Who is on a domain's images and where they were taken, from the lists or from a truth beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from naic_reid.artifacts import DISTRACTOR, JUNK, ImageList
from naic_reid.data import truth as truths
from naic_reid.errors import listing
from naic_reid.retrieval import protocols
from naic_reid.retrieval.protocols import Columns, Labels


class Lists(NamedTuple):
    """Labels of one domain: queries, gallery, the other domains' galleries, images of multiple queries."""

    query: Labels
    gallery: Labels
    others: Labels
    multi_query: Labels
    queried: Sequence[str]
    """Who is on the queries, as written."""
    shown: Sequence[str]
    """Who is on the gallery's images, as written."""


def read(
    lists: tuple[ImageList, ImageList],
    others: list[Path],
    other_queries: list[Path],
    multi_query_list: list[Path],
    truth: list[Path],
) -> Lists:
    """The labels of one domain.

    Args:
        lists: of query and gallery images.
        others: gallery lists of the other domains.
        other_queries: query lists of the other domains; with `others`, all the images there are.
        multi_query_list: none, or the list of images that are averaged for multiple queries.
        truth: none, or who is on each image; else the lists say it.

    Raises:
        ReidError: nobody knows who is on an image, or the truth tells of images that are not there.
    """
    known = truths.read(truth[0]) if truth else None
    query, _ = _columns("query", lists[0], [ImageList.read(path) for path in other_queries], known)
    gallery, rest = _columns("gallery", lists[1], [ImageList.read(path) for path in others], known)
    more = Columns.joined([_of_list(ImageList.read(path)) for path in multi_query_list])
    asked, searched, elsewhere, multiple = protocols.numbered(query, gallery, rest, more)
    return Lists(asked, searched, elsewhere, multiple, query.identities, gallery.identities)


def of_lists(query: ImageList, gallery: ImageList) -> tuple[Labels, Labels]:
    """The labels that two lists tell of themselves."""
    one, other = protocols.numbered(_of_list(query), _of_list(gallery))
    return one, other


def _columns(
    subset: str, images: ImageList, others: list[ImageList], known: truths.Truth | None
) -> tuple[Columns, Columns]:
    """Who is on each image of a list, and of the other lists; an image that nobody knows is an error."""
    if known is not None:
        persons = known.of(subset, [*images.names, *(name for other in others for name in other.names)])
        return _of_truth(persons[: len(images)]), _of_truth(persons[len(images) :])
    missing = [path for path, person in zip(images.paths, images.identities, strict=True) if not person]
    if missing:
        raise listing(missing, f"the {subset} list names no person for these images; give --truth")
    return _of_list(images), Columns.joined([_of_list(other) for other in others])


def _of_truth(persons: Sequence[truths.Person]) -> Columns:
    nothing = [""] * len(persons)
    junk = [person.junk for person in persons]
    identities, cameras = [p.identity for p in persons], [p.camera for p in persons]
    return Columns(identities, cameras, junk, [False] * len(persons), nothing)


def _of_list(images: ImageList) -> Columns:
    junk, distractors = ([mark == which for mark in images.marks] for which in (JUNK, DISTRACTOR))
    return Columns(images.identities, images.cameras, junk, distractors, images.groups)
