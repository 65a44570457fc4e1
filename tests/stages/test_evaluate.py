"""Evaluate: scores of each member and the fusion, plain and re-ranked, as the definitions give them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from naic_reid.artifacts import Features, Ranking
from naic_reid.config import Fuse
from naic_reid.errors import ReidError
from tests.oracles import metrics as oracle
from tests.oracles import rerank as dense
from tests.stages.members import PERSONS, World, world

SIZES = {"green": (10, 60), "normal": (20, 90), "empty": (0, 4)}


@pytest.fixture
def made(tmp_path: Path) -> World:
    made = world(tmp_path, SIZES, labelled=True)
    for domain in SIZES:
        made.rerank_all(domain)
    return made


def expected(made: World, domain: str) -> dict[tuple[str, bool], Any]:
    """Mean scores by (member, reranked) from dense matrices and ranked lists."""
    num_query, num_gallery = SIZES[domain]
    fused = {False: np.zeros(SIZES[domain]), True: np.zeros(SIZES[domain])}
    matrices = {}
    files = zip(made.paths("query", domain), made.paths("gallery", domain), strict=True)
    names = ["a/epoch_1", "a/epoch_2", "b/epoch_1", "b/epoch_2"]
    for name, weight, (one, other) in zip(names, [1, 1, 2, 2], files, strict=True):
        query, gallery = Features.read(one).values, Features.read(other).values
        matrices[name, False] = dense.squared_distances(query, gallery)[:num_query, num_query:] / 2
        matrices[name, True] = dense.re_ranking(query, gallery, 10, 3, 0.3)
        for reranked in (False, True):
            fused[reranked] += weight * matrices[name, reranked]
    matrices |= {("fusion", False): fused[False], ("fusion", True): fused[True]}
    gallery_persons = [(image % PERSONS, 1) for image in range(num_gallery)]
    return {
        key: {
            name: np.mean([row[name] for row in rows])
            for name in ("R1", "R5", "R10", "mAP", "mAP@200", "mINP")
        }
        for key, matrix in matrices.items()
        for rows in [
            [
                oracle.query_scores(oracle.ranked_hits(matrix[q], (q % PERSONS, 1), gallery_persons, False))
                for q in range(num_query)
            ]
        ]
    }


@pytest.mark.parametrize("domain", ["green", "normal"])
def test_all_scores_are_those_of_dense_matrices(made: World, domain: str) -> None:
    read = json.loads(made.evaluate(domain).read_text())
    for entry in read["entries"]:
        for name, value in expected(made, domain)[entry["member"], entry["reranked"]].items():
            assert entry["scores"][name] == pytest.approx(value, abs=1e-9), (entry["member"], name)
    assert len(read["entries"]) == 10


def test_features_side_by_side_are_scored_as_the_fusion(made: World) -> None:
    of_distances = json.loads(made.evaluate("green").read_text())["entries"]
    of_features = json.loads(made.evaluate("green", fused=Fuse(of="features")).read_text())["entries"]
    assert of_features[:-2] == of_distances[:-2]
    ranking = Ranking.read(made.fuse("green", Fuse(of="features")))
    hits = ranking.indices % PERSONS == np.arange(10)[:, None] % PERSONS
    first = hits.argmax(axis=1) + 1
    assert of_features[-1]["hits"]["first"] == first.tolist()
    assert of_features[-1]["scores"] != of_distances[-1]["scores"]


def test_labelled_lists_need_no_truth(made: World) -> None:
    with_truth = json.loads(made.evaluate("green").read_text())["entries"]
    without = json.loads(made.evaluate("green", truth=False).read_text())["entries"]
    assert with_truth == without


def test_positives_in_other_galleries_are_counted(made: World) -> None:
    read = json.loads(made.evaluate("green").read_text())
    persons = [image % PERSONS for image in [*range(90), *range(4)]]
    assert read["elsewhere"] == [persons.count(query % PERSONS) for query in range(10)]


def test_a_domain_without_queries_scores_nothing(made: World) -> None:
    read = json.loads(made.evaluate("empty").read_text())
    assert [entry["scores"]["queries"] for entry in read["entries"]] == [0] * 10


def test_images_the_truth_does_not_know_are_listed(made: World) -> None:
    kept = [line for line in made.truth.read_text().splitlines() if "green_query_003" not in line]
    made.truth.write_text("\n".join(kept) + "\n")
    with pytest.raises(ReidError, match=r"no row for these query images \(1 in all\)"):
        made.evaluate("green")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a,b\n1,2\n", "its first line must be subset,name,pid,camid"), (None, "cannot be read")],
)
def test_a_truth_that_is_no_such_table_is_refused(made: World, text: str | None, sentence: str) -> None:
    if text is None:
        made.truth.unlink()
    else:
        made.truth.write_text(text)
    with pytest.raises(ReidError, match=sentence):
        made.evaluate("green")


def test_unlabelled_lists_without_truth_are_refused(tmp_path: Path) -> None:
    bare = world(tmp_path, {"green": (3, 20)})
    bare.rerank_all("green")
    with pytest.raises(ReidError, match="give --truth"):
        bare.evaluate("green", truth=False)


def test_features_of_other_images_are_refused(made: World) -> None:
    made.paths("query", "green")[1].write_bytes(made.paths("query", "normal")[1].read_bytes())
    with pytest.raises(ReidError, match="its images are not those of the list"):
        made.evaluate("green")


def test_a_row_about_no_image_of_any_domain_is_refused(made: World) -> None:
    with made.truth.open("a") as handle:
        handle.write("query,nobody.png,3,1\n")
    with pytest.raises(ReidError, match=r"truth\.csv:\d+: there is no such query image: nobody\.png"):
        made.evaluate("green")


def test_junk_is_refused_where_no_rule_leaves_it_out(made: World) -> None:
    made.truth.write_text(
        made.truth.read_text().replace("green_gallery_004.png,4", "green_gallery_004.png,-1")
    )
    with pytest.raises(ReidError, match=r"junk \(pid -1\), which this score has no rule for"):
        made.evaluate("green")
