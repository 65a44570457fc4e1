"""Rerank: neighbours → Jaccard rows, by the settings, refusing files that do not fit."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from naic_reid.artifacts import JaccardRows, MadeBy, Neighbours
from naic_reid.config import Rerank, Search
from naic_reid.errors import ReidError
from naic_reid.stages import rerank, search
from tests.stages.members import World, world


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path, {"green": (10, 60), "normal": (8, 20)})


def files(made: World, domain: str) -> dict[str, Path]:
    query, gallery = made.paths("query", domain)[0], made.paths("gallery", domain)[0]
    near = made.paths("near", domain)[0]
    search.run(Search(), query=query, gallery=gallery, neighbours=near)
    return {"neighbours": near, "query": query, "gallery": gallery, "jaccard": made.folder / "j.npz"}


def test_every_setting_reaches_the_kernel(made: World) -> None:
    places = files(made, "green")
    seen = []
    for change in [{}, {"k1": 5}, {"k2": 6}, {"norm": "none"}, {"power": 2}, {"count_self": True}]:
        rerank.run(Rerank(**({"k1": 12, "k2": 2} | change)), **places)
        seen.append(JaccardRows.read(places["jaccard"]).similarity.toarray())
    assert all(not np.array_equal(seen[0], other) for other in seen[1:])


def test_k1_beyond_the_set_is_cut_with_a_warning(made: World, caplog: pytest.LogCaptureFixture) -> None:
    places = files(made, "normal")
    rerank.run(Rerank(k1=30), **places)
    assert "k1 = 30 is more than there are other rows; using 27" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_neighbours_of_other_features_are_refused(made: World) -> None:
    places = files(made, "green") | {"query": made.paths("query", "normal")[0]}
    with pytest.raises(ReidError, match=r"was not made from .*query_normal"):
        rerank.run(Rerank(), **places)


def test_neighbours_without_a_record_must_have_the_right_size(made: World) -> None:
    places = files(made, "green") | {"query": made.paths("query", "normal")[0]}
    replace(Neighbours.read(places["neighbours"]), made_by=MadeBy()).write(places["neighbours"])
    with pytest.raises(ReidError, match="run search on these features"):
        rerank.run(Rerank(), **places)


def test_too_few_neighbours_are_refused_with_the_setting_to_raise(made: World) -> None:
    places = files(made, "green")
    search.run(
        Search(keep=9), query=places["query"], gallery=places["gallery"], neighbours=places["neighbours"]
    )
    with pytest.raises(ReidError, match=r"holds 9 neighbours .* raise search\.keep"):
        rerank.run(Rerank(k1=9), **places)
