"""Holdout: whole identities, drawn from the seed."""

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from naic_reid.artifacts import ImageList
from naic_reid.config import Holdout
from naic_reid.errors import ReidError
from naic_reid.stages import holdout as stage


def _run(folder: Path, counts: list[int], holdout: Holdout, seed: int = 1) -> tuple[ImageList, ...]:
    """(train, query, gallery) of a list with this many images of each identity."""
    identities = [f"s/{label:03}" for label, num in enumerate(counts) for _ in range(num)]
    paths = tuple(f"images/{at:05}.png" for at in range(len(identities)))
    ImageList(paths, tuple(identities)).write(folder / "images.tsv")
    files = {name: folder / f"{name}.tsv" for name in ("train", "query", "gallery")}
    stage.run(seed, holdout, images=folder / "images.tsv", **files)
    return tuple(ImageList.read(file) for file in files.values())


def test_folds_have_nobody_in_common_and_together_set_everybody_aside(tmp_path: Path) -> None:
    counts = [3, 4, 5, 2, 3, 1, 4, 3, 6]  # the one seen once can be in no hold-out, and is trained on
    aside: list[str] = []
    for fold in (1, 2, 3):
        train, query, gallery = _run(tmp_path, counts, Holdout(folds=3, fold=fold))
        assert {*query.identities} == {*gallery.identities}
        assert {*train.identities} == {f"s/{label:03}" for label in range(9)} - {*query.identities}
        aside += sorted({*query.identities})
    assert sorted(aside) == [f"s/{label:03}" for label in (0, 1, 2, 3, 4, 6, 7, 8)]
    with pytest.raises(ReidError, match=r"holdout\.folds: 9 parts .* leave 0 for fold 9"):
        _run(tmp_path, counts, Holdout(folds=9, fold=9))
    for wrong in ({"folds": 1, "fold": 1}, {"folds": 3}, {"fold": 2}, {"folds": 3, "fold": 4}):
        with pytest.raises(ValueError, match="fold"):
            Holdout(**wrong)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.lists(st.integers(2, 6), min_size=4, max_size=30),
    share=st.floats(0, 1),
    query_images=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_every_image_is_in_one_list_and_identities_stay_whole(
    counts: list[int], share: float, query_images: int, seed: int, tmp_path: Path
) -> None:
    holdout = Holdout(share=share, query_images=query_images)
    try:
        train, query, gallery = _run(tmp_path, counts, holdout, seed)
    except ReidError:
        able = sum(num > query_images for num in counts)
        number = round(share * len(counts))
        assert number < 1 or number > able or len(counts) - number < 2
        return
    every = [*train.paths, *query.paths, *gallery.paths]
    assert sorted(every) == [f"images/{at:05}.png" for at in range(sum(counts))]
    aside = set(query.identities)
    assert aside == set(gallery.identities)
    assert not aside & set(train.identities)
    assert len(aside) == (round(share * len(counts)) if share else 0)
    assert set(Counter(query.identities).values()) <= {query_images}
    assert len(set(train.identities)) >= 2


def test_the_draw_follows_the_seed(tmp_path: Path) -> None:
    counts, holdout = [4] * 40, Holdout(share=0.25)
    first = [part.paths for part in _run(tmp_path, counts, holdout, seed=1)]
    assert [part.paths for part in _run(tmp_path, counts, holdout, seed=1)] == first
    assert [part.paths for part in _run(tmp_path, counts, holdout, seed=2)] != first


def test_identities_keep_their_names(tmp_path: Path) -> None:
    for part in _run(tmp_path, [3] * 10, Holdout(share=0.2)):
        assert all(
            name == f"s/{int(path[7:12]) // 3:03}"
            for path, name in zip(part.paths, part.identities, strict=True)
        )


def test_a_share_of_zero_sets_nobody_aside(tmp_path: Path) -> None:
    train, query, gallery = _run(tmp_path, [3] * 5, Holdout(share=0))
    assert (len(train), len(query), len(gallery)) == (15, 0, 0)


@pytest.mark.parametrize(
    ("counts", "holdout", "reason"),
    [
        ([3] * 5, Holdout(share=0.01), "is none: raise it, or switch the hold-out off with 0"),
        ([3] * 5, Holdout(share=0.8), "leaves 1 to train on"),
        ([2] * 9 + [5], Holdout(share=0.3, query_images=2), "but only 1 of"),
    ],
)
def test_a_share_that_cannot_be_is_refused(
    tmp_path: Path, counts: list[int], holdout: Holdout, reason: str
) -> None:
    with pytest.raises(ReidError, match=reason):
        _run(tmp_path, counts, holdout)


def _can_be_asked(seen: list[int], num: int) -> bool:
    """Whether some `num` images of a person can be taken out so that each is answered by another camera."""
    for taken in combinations(range(len(seen)), num):
        left = [camera for at, camera in enumerate(seen) if at not in taken]
        if all(any(camera != seen[at] for camera in left) for at in taken):
            return True
    return False


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    persons=st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=6), min_size=4, max_size=12),
    query_images=st.integers(1, 2),
    seed=st.integers(0, 9),
)
def test_with_cameras_every_query_has_an_answer_by_another_camera(
    persons: list[list[int]], query_images: int, seed: int, tmp_path: Path
) -> None:
    rows = [(f"m/{who:02}", f"m/{camera}") for who, seen in enumerate(persons) for camera in seen]
    paths = tuple(f"images/{at:05}.png" for at in range(len(rows)))
    identities, cameras = zip(*rows, strict=True)
    images = ImageList(paths, identities, cameras=cameras)
    images.write(tmp_path / "images.tsv")
    files = {name: tmp_path / f"{name}.tsv" for name in ("train", "query", "gallery")}
    holdout = Holdout(share=0.3, query_images=query_images)
    if round(0.3 * len(persons)) > sum(_can_be_asked(seen, query_images) for seen in persons):
        with pytest.raises(ReidError, match="by two cameras where these are known"):
            stage.run(seed, holdout, images=tmp_path / "images.tsv", **files)
        return
    stage.run(seed, holdout, images=tmp_path / "images.tsv", **files)
    train, query, gallery = (ImageList.read(file) for file in files.values())
    assert set(Counter(query.identities).values()) == {query_images}
    answers = list(zip(gallery.identities, gallery.cameras, strict=True))
    for identity, camera in zip(query.identities, query.cameras, strict=True):
        assert any(who == identity and seen != camera for who, seen in answers)
    kept = [*zip(train.paths, train.cameras, strict=True), *zip(query.paths, query.cameras, strict=True)]
    kept += zip(gallery.paths, gallery.cameras, strict=True)
    assert sorted(kept) == list(zip(paths, cameras, strict=True))
