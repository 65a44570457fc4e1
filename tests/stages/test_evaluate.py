"""Evaluate: scores of each member and the fusion, plain and re-ranked, as the definitions give them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from naic_reid.artifacts import DISTRACTOR, JUNK, Features, ImageList, Ranking
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
    ranking = made.fuse("green")
    made.paths("query", "green")[1].write_bytes(made.paths("query", "normal")[1].read_bytes())
    with pytest.raises(ReidError, match="its images are not those of the list"):
        made.evaluate("green", ranking=ranking)


def test_a_row_about_no_image_of_any_domain_is_refused(made: World) -> None:
    with made.truth.open("a") as handle:
        handle.write("query,nobody.png,3,1\n")
    with pytest.raises(ReidError, match=r"truth\.csv:\d+: there is no such query image: nobody\.png"):
        made.evaluate("green")


def test_junk_is_met_by_no_query(made: World) -> None:
    made.truth.write_text(
        made.truth.read_text().replace("green_gallery_004.png,4", "green_gallery_004.png,-1")
    )
    entries = json.loads(made.evaluate("green").read_text())["entries"]
    ranking = Ranking.read(made.fuse("green")).indices
    of_person_4 = [g for g in ranking[4].tolist() if g != 4]
    ranks = [n + 1 for n, g in enumerate(of_person_4) if g % PERSONS == 4]
    assert entries[-1]["hits"]["positives"][4] == len(ranks) == 4
    assert entries[-1]["hits"]["first"][4] == ranks[0] and entries[-1]["hits"]["last"][4] == ranks[-1]


def test_a_ranking_that_is_not_of_these_distances_is_refused(made: World) -> None:
    shipped = made.fuse("green")
    ranking = Ranking.read(shipped)
    indices = ranking.indices.copy()
    indices[7, [40, 41]] = indices[7, [41, 40]]
    replace(ranking, indices=indices, distances=np.zeros_like(ranking.distances)).write(shipped)
    with pytest.raises(ReidError, match=r"ranking_green\.npz: does not rank query 7 .*run fuse again"):
        made.evaluate("green", ranking=shipped)


def test_hits_of_the_fusion_stand_where_the_shipped_ranking_has_them(made: World) -> None:
    entries = json.loads(made.evaluate("normal").read_text())["entries"]
    ranking = Ranking.read(made.fuse("normal"))
    right = ranking.indices % PERSONS == np.arange(20)[:, None] % PERSONS
    assert entries[-1]["hits"]["first"] == (right.argmax(axis=1) + 1).tolist()
    last = right.shape[1] - right[:, ::-1].argmax(axis=1)
    assert entries[-1]["hits"]["last"] == last.tolist()


def with_cameras(made: World, domain: str) -> None:
    """Images take turns between two cameras; some of the gallery are junk or distractors."""
    for role in ("query", "gallery"):
        images = ImageList.read(made.images(role, domain))
        marks = [
            "" if role == "query" or n % 11 else JUNK if n % 2 else DISTRACTOR for n in range(len(images))
        ]
        cameras = tuple(f"set/{n // PERSONS % 2}" for n in range(len(images)))
        replace(images, cameras=cameras, marks=tuple(marks)).write(made.images(role, domain))


def test_cameras_junk_and_distractors_of_the_lists_are_minded_by_the_market_protocol(made: World) -> None:
    with_cameras(made, "normal")
    read = json.loads(made.evaluate("normal", truth=False, protocol="market").read_text())
    assert "its camera" in read["rules"]["cameras"]
    matrix = np.zeros(SIZES["normal"])
    files = zip(made.paths("query", "normal"), made.paths("gallery", "normal"), strict=True)
    for weight, (one, other) in zip([1, 1, 2, 2], files, strict=True):
        query, gallery = Features.read(one).values, Features.read(other).values
        matrix += weight * dense.squared_distances(query, gallery)[:20, 20:] / 2
    queries = [(q % PERSONS, q // PERSONS % 2) for q in range(20)]
    images = [
        (g % PERSONS if g % 11 else -1, g // PERSONS % 2, g % 11 == 0 and g % 2 == 1) for g in range(90)
    ]
    num, means = oracle.mean_scores(matrix, queries, images, cross_camera=True)
    scores = read["entries"][-2]["scores"]
    assert scores["queries"] == num
    for name in ("R1", "R5", "R10", "mAP", "mINP"):
        assert scores[name] == pytest.approx(means[name], abs=1e-9), name
    same, different = oracle.pairs(matrix, queries, images, cross_camera=True)
    assert scores["TPR@FPR=0.01"] == pytest.approx(oracle.tar_at_far(same, different, 0.01), abs=1e-9)
    assert scores["fast-reid TPR@FPR=0.01"] == pytest.approx(oracle.fast_reid_tpr(same, different, 0.01))


def test_queries_without_positives_are_refused_with_the_rule(made: World) -> None:
    alone = world(made.folder, {"green": (10, 60)}, labelled=True)
    for role in ("query", "gallery"):
        images = ImageList.read(alone.images(role, "green"))
        cameras = ("set/1",) * len(images)
        replace(images, cameras=cameras).write(alone.images(role, "green"))
    alone.rerank_all("green")
    with pytest.raises(
        ReidError, match=r"protocol market none of 10 queries has a positive: those of 10 only"
    ):
        alone.evaluate("green", truth=False, protocol="market")


def test_multiple_queries_are_scored_beside_single_ones(made: World) -> None:
    with_cameras(made, "green")
    images = ImageList.read(made.images("gallery", "green"))
    images.write(made.images("multi_query", "green"))
    for one, more in zip(made.paths("gallery", "green"), made.paths("multi_query", "green"), strict=True):
        more.write_bytes(one.read_bytes())
    read = json.loads(made.evaluate("green", truth=False, protocol="market", multiple=True).read_text())
    single = json.loads(made.evaluate("green", truth=False, protocol="market").read_text())
    assert read["entries"][:10] == single["entries"]
    assert [entry["multiple"] for entry in read["entries"][10:]] == [True] * 10
    assert read["entries"][-2]["scores"]["mAP"] > read["entries"][-4 - 8]["scores"]["mAP"]


def test_a_protocol_of_draws_tells_means_deviations_and_what_was_drawn(made: World) -> None:
    for domain in SIZES:
        with_cameras(made, domain)
    read = json.loads(made.evaluate("green", truth=False, protocol="single_shot").read_text())
    assert len(read["draws"]) == 10 and sorted(read["draws"][0]) == list(range(60))
    scores = read["entries"][-1]["scores"]
    assert scores["trials"] == 10 and scores["deviation"]["mAP"] == 0 <= scores["deviation"]["R1"]
    assert "hits" not in read["entries"][-1]
