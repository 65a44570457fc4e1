"""Fuse: all members of a domain → the ranking, weighted as the config says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from naic_reid.artifacts import Features, JaccardRows, MadeBy, Ranking
from naic_reid.config import Fuse, Rerank
from naic_reid.errors import ReidError
from naic_reid.stages import fuse
from tests.oracles import rerank as oracle
from tests.stages.members import ENSEMBLE, MODELS, World, world


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path, {"green": (10, 60), "normal": (12, 250), "empty": (0, 5)})


def test_the_ranking_is_by_the_weighted_sum_of_all_members(made: World) -> None:
    made.rerank_all("green")
    ranking = Ranking.read(made.fuse("green"))
    expected = np.zeros((10, 60))
    pairs = zip(made.paths("query", "green"), made.paths("gallery", "green"), strict=True)
    for weight, (query, gallery) in zip([1, 1, 2, 2], pairs, strict=True):
        values = Features.read(query).values, Features.read(gallery).values
        expected += weight * oracle.re_ranking(*values, 10, 3, 0.3)
    np.testing.assert_array_equal(ranking.indices, np.argsort(expected, axis=1, kind="stable"))
    np.testing.assert_allclose(ranking.distances, np.sort(expected, axis=1), atol=1e-5)
    assert ranking.gallery[0] == "green_gallery_000.png"


def test_features_side_by_side_are_re_ranked_once(made: World) -> None:
    made.rerank_all("green")
    ranking = Ranking.read(made.fuse("green", Fuse(of="features")))
    parts: dict[str, list[np.ndarray]] = {"query": [], "gallery": []}
    for role, sides in parts.items():
        for weight, path in zip([1, 1, 2, 2], made.paths(role, "green"), strict=True):
            sides.append(weight**0.5 * Features.read(path).values.astype(np.float64))
    query, gallery = (np.concatenate(sides, axis=1) for sides in parts.values())
    expected = oracle.re_ranking(query, gallery, 10, 3, 0.3)
    np.testing.assert_array_equal(ranking.indices, np.argsort(expected, axis=1, kind="stable"))
    np.testing.assert_allclose(ranking.distances, np.sort(expected, axis=1), atol=1e-5)


def test_the_graph_of_neighbours_takes_the_place_of_k_reciprocal_by_a_word(made: World) -> None:
    made = replace(made, settings=Rerank(method="graph", k1=10, k2=3, lambda_=0.3))
    made.rerank_all("normal")
    ranking = Ranking.read(made.fuse("normal"))
    expected = np.zeros((12, 250))
    pairs = zip(made.paths("query", "normal"), made.paths("gallery", "normal"), strict=True)
    for weight, (query, gallery) in zip([1, 1, 2, 2], pairs, strict=True):
        values = Features.read(query).values, Features.read(gallery).values
        expected += weight * (1 - oracle.graph_scores(*values, 10, 3, 0.3))
    np.testing.assert_allclose(ranking.distances, np.sort(expected, axis=1)[:, :200], atol=1e-5)


def test_memory_never_changes_the_file(made: World) -> None:
    made.rerank_all("normal")
    files = {kind: made.paths(kind, "normal") for kind in ("query", "gallery", "jaccard")}
    for memory in ("", "10kB"):
        out = made.folder / f"ranking{memory}.npz"
        fuse.run(made.settings, MODELS, ENSEMBLE, Fuse(), **files, ranking=out, memory=memory)
    assert (made.folder / "ranking.npz").read_bytes() == (made.folder / "ranking10kB.npz").read_bytes()


def test_two_hundred_are_listed_or_all_there_are(made: World) -> None:
    for domain, shape in (("normal", (12, 200)), ("empty", (0, 5))):
        made.rerank_all(domain)
        assert Ranking.read(made.fuse(domain)).indices.shape == shape


def test_members_and_files_must_be_as_many(made: World) -> None:
    files = {kind: made.paths(kind, "green")[:3] for kind in ("query", "gallery", "jaccard")}
    with pytest.raises(ReidError, match="1 domains of 4 members, but 3 query, 3 gallery, 3 Jaccard"):
        fuse.run(made.settings, MODELS, ENSEMBLE, Fuse(), **files, ranking=made.folder / "r.npz")


def test_members_of_different_images_are_refused(made: World) -> None:
    made.rerank_all("green")
    files = {kind: made.paths(kind, "green") for kind in ("query", "gallery", "jaccard")}
    features = Features.read(files["gallery"][2])
    moved = (*features.names[1:], features.names[0])
    values = np.array(features.values)
    Features(moved, values).write(files["gallery"][2])
    with pytest.raises(ReidError, match="not those of the first member"):
        fuse.run(made.settings, MODELS, ENSEMBLE, Fuse(), **files, ranking=made.folder / "r.npz")


@pytest.mark.parametrize(
    ("recorded", "sentence"), [(True, "was not made from .*query_green"), (False, "run rerank on these")]
)
def test_jaccard_rows_of_another_domain_are_refused(made: World, recorded: bool, sentence: str) -> None:
    made.rerank_all("green")
    made.rerank_all("normal")
    files = {kind: made.paths(kind, "green") for kind in ("query", "gallery", "jaccard")}
    files["jaccard"] = [*files["jaccard"][:3], made.paths("jaccard", "normal")[3]]
    if not recorded:
        replace(JaccardRows.read(files["jaccard"][3]), made_by=MadeBy()).write(files["jaccard"][3])
    with pytest.raises(ReidError, match=sentence):
        fuse.run(made.settings, MODELS, ENSEMBLE, Fuse(), **files, ranking=made.folder / "r.npz")
