"""Search: features of one member and domain → exact neighbours, with a record of what made them."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from naic_reid import lineage
from naic_reid.artifacts import Features, MadeBy, Neighbours
from naic_reid.config import Search
from naic_reid.errors import ReidError
from naic_reid.stages import search
from tests.oracles import rerank as oracle
from tests.stages.members import world


@pytest.mark.parametrize("sizes", [(10, 60), (3, 20), (0, 5), (5, 0), (0, 0)])
def test_the_neighbours_are_exact_and_know_where_they_come_from(
    tmp_path: Path, sizes: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = world(tmp_path, {"green": sizes})
    query, gallery = made.paths("query", "green")[0], made.paths("gallery", "green")[0]
    out = tmp_path / "n.npz"
    search.run(Search(keep=31), query=query, gallery=gallery, neighbours=out)
    found = Neighbours.read(out)
    values = Features.read(query).values, Features.read(gallery).values
    if sum(sizes):
        np.testing.assert_array_equal(found.rows, oracle.ranks(*values)[:, :31])
    assert found.num_query == sizes[0]
    assert found.made_by.stage == "search"
    assert json.loads(found.made_by.settings)["search"]["keep"] == 31
    assert len(found.made_by.inputs) == 2
    assert f"{sizes[0]} + {sizes[1]} rows" in caplog.text


def test_threads_never_change_the_file(tmp_path: Path) -> None:
    made = world(tmp_path, {"green": (20, 200)})
    query, gallery = made.paths("query", "green")[0], made.paths("gallery", "green")[0]
    for threads in (1, 2):
        out = tmp_path / f"{threads}.npz"
        search.run(Search(), query=query, gallery=gallery, neighbours=out, threads=threads)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()


@pytest.mark.parametrize("engine", ["faiss-flat", "faiss-ivf", "faiss-hnsw"])
def test_other_engines_tell_their_recall_in_log_and_record(
    tmp_path: Path, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = world(tmp_path, {"green": (20, 200)})
    query, gallery = made.paths("query", "green")[0], made.paths("gallery", "green")[0]
    out = tmp_path / "n.npz"
    little = {"faiss-ivf": {"nprobe": 3}, "faiss-hnsw": {"ef_search": 3}}.get(engine, {})
    search.run(Search(engine=engine, **little), query=query, gallery=gallery, neighbours=out)
    told = json.loads(Neighbours.read(out).made_by.settings)
    assert told["search"]["engine"] == engine
    assert 0.2 < told["recall"] <= 1
    assert f"{engine} found {100 * told['recall']:.2f} %" in caplog.text


def test_features_by_another_checkpoint_are_no_twins() -> None:
    one, other = (MadeBy("extract", inputs=((role, "1"), ("a.pt", digest))) for role, digest in ("q2", "g3"))
    with pytest.raises(ReidError, match="another checkpoint"):
        lineage.require_twins(Path("q"), one, Path("g"), other)
    lineage.require_twins(Path("q"), one, Path("g"), MadeBy("extract", inputs=(("g", "4"), ("a.pt", "2"))))
