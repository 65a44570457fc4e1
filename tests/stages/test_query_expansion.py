"""Query expansion: features of one member and domain → the same images', moved towards their nearest."""

import json
from pathlib import Path

import numpy as np
import pytest

from naic_reid.artifacts import Features, MadeBy
from naic_reid.config import QueryExpansion, Search
from naic_reid.errors import ReidError
from naic_reid.stages import query_expansion, search
from tests.stages.members import world


def expanded(folder: Path, settings: QueryExpansion, **speed: int) -> tuple[list[Path], list[Path]]:
    made = world(folder, {"green": (10, 60)})
    old = [made.paths(role, "green")[0] for role in ("query", "gallery")]
    new = [folder / f"new_{role}.npz" for role in ("query", "gallery")]
    query_expansion.run(settings, query=old[0], gallery=old[1], new_query=new[0], new_gallery=new[1], **speed)
    return old, new


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_each_feature_is_the_weighted_sum_of_its_nearest(tmp_path: Path, alpha: float) -> None:
    old, new = expanded(tmp_path, QueryExpansion(k=4, alpha=alpha))
    rows = np.concatenate([Features.read(path).values for path in old]).astype(np.float64)
    cosines = rows @ rows.T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :4]
    sums = np.array(
        [(np.clip(c[n], 0, None) ** alpha) @ rows[n] for c, n in zip(cosines, nearest, strict=True)]
    )
    wanted = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    found = [Features.read(path) for path in new]
    np.testing.assert_allclose(np.concatenate([one.values for one in found]), wanted, atol=1e-6)
    assert [one.names for one in found] == [Features.read(path).names for path in old]
    search.run(Search(), query=new[0], gallery=new[1], neighbours=tmp_path / "near.npz")


def test_threads_never_change_the_files(tmp_path: Path) -> None:
    for threads in (1, 2):
        (tmp_path / str(threads)).mkdir()
        expanded(tmp_path / str(threads), QueryExpansion(), threads=threads)
    for role in ("query", "gallery"):
        one, other = (Features.read(tmp_path / str(n) / f"new_{role}.npz").values for n in (1, 2))
        np.testing.assert_array_equal(one, other)


def test_what_is_known_of_the_network_goes_on(tmp_path: Path) -> None:
    made = world(tmp_path, {"green": (4, 9)})
    for role in ("query", "gallery"):
        path = made.paths(role, "green")[0]
        told = Features.read(path)
        of = MadeBy.of("extract", 1, {"model": {"backbone": "resnet18"}, "epoch": 7, "extract": {}}, [])
        Features(told.names, np.array(told.values), of).write(path)
    query, gallery = (made.paths(role, "green")[0] for role in ("query", "gallery"))
    query_expansion.run(
        QueryExpansion(),
        query=query,
        gallery=gallery,
        new_query=tmp_path / "q.npz",
        new_gallery=tmp_path / "g.npz",
    )
    told_now = json.loads(Features.read(tmp_path / "q.npz").made_by.settings)
    assert told_now["epoch"] == 7
    assert told_now["model"] == {"backbone": "resnet18"}
    assert told_now["query_expansion"] == {"k": 5, "alpha": 3.0}


def test_features_of_two_networks_are_refused(tmp_path: Path) -> None:
    made = world(tmp_path, {"green": (4, 9)})
    query, gallery = (made.paths(role, "green")[0] for role in ("query", "gallery"))
    told = Features.read(gallery)
    Features(told.names, np.array(told.values), MadeBy.of("extract", 1, {"epoch": 7}, [])).write(gallery)
    with pytest.raises(ReidError, match="was not extracted as"):
        query_expansion.run(
            QueryExpansion(),
            query=query,
            gallery=gallery,
            new_query=tmp_path / "q",
            new_gallery=tmp_path / "g",
        )
