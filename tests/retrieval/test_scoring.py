"""Scores from features and labels: those of the definitions, whichever way they are counted."""

import doctest

import numpy as np
import pytest

from naic_reid.artifacts import Floats
from naic_reid.errors import ReidError
from naic_reid.retrieval import scoring
from naic_reid.retrieval.distances import PLAIN
from naic_reid.retrieval.evaluation import Evaluation
from naic_reid.retrieval.protocols import PROTOCOLS, Columns, numbered
from naic_reid.retrieval.rerank import Reranking
from naic_reid.retrieval.scoring import score, score_distances
from tests.oracles import metrics as oracle
from tests.oracles import rerank as dense
from tests.retrieval.features import clustered

QUERIES, NUM = 40, 400


def world(seed: int = 1) -> tuple[Floats, Floats, list[list[int]]]:
    """Features, and identities and cameras of query and gallery with junk (−1) and distractors (0)."""
    rng = np.random.default_rng(seed)
    persons = np.concatenate([rng.integers(1, 9, QUERIES), rng.integers(-1, 11, NUM - QUERIES)])
    rows = rng.normal(size=(12, 24))[persons] + 1.5 * rng.normal(size=(NUM, 24))
    cameras = rng.integers(0, 3, NUM)
    lists = [persons[:QUERIES], persons[QUERIES:], cameras[:QUERIES], cameras[QUERIES:]]
    rows = rows.astype(np.float32)
    return rows[:QUERIES], rows[QUERIES:], [values.tolist() for values in lists]


def expected(distances: Floats, labels: list[list[int]]) -> dict[str, float]:
    queries = list(zip(labels[0], labels[2], strict=True))
    gallery = [(p, c, p == -1) for p, c in zip(labels[1], labels[3], strict=True)]
    num, means = oracle.mean_scores(distances, queries, gallery, cross_camera=True)
    same, different = oracle.pairs(distances, queries, gallery, cross_camera=True)
    rates = {f"TPR@FPR={rate:g}": oracle.tar_at_far(same, different, rate) for rate in (1e-4, 1e-3, 1e-2)}
    swapped = {
        f"fast-reid TPR@FPR={rate:g}": oracle.fast_reid_tpr(same, different, rate)
        for rate in (1e-4, 1e-3, 1e-2)
    }
    return {"queries": num, **means, **rates, **swapped}


def agree(found: dict[str, float], wanted: dict[str, float]) -> None:
    for name, value in wanted.items():
        if name != "trapezoid":
            assert found[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("seed", [1, 2])
def test_scores_are_those_of_the_definitions(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery, labels = world(seed)
    distances = dense.squared_distances(query, gallery)[:QUERIES, QUERIES:] / 2
    wanted = expected(distances, labels)
    agree(score(query, gallery, *labels, device="cpu"), wanted)
    monkeypatch.setattr(scoring, "_BLOCK", 7)
    agree(score(query, gallery, *labels, device="cpu", threads=2), wanted)


@pytest.mark.parametrize("seed", range(4))
def test_equal_distances_rank_by_index(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.choice([-1, 1], size=(70, 2 + 9 * seed))  # a product's last bits would decide
    persons = rng.integers(0, 4, 70).tolist()
    distances = 1 - rows[:15] @ rows[15:].T / rows.shape[1]
    entries = [(person, -1) for person in persons]
    _, wanted = oracle.mean_scores(distances, entries[:15], entries[15:])
    unit = rows.astype(np.float32)
    agree(score(unit[:15], unit[15:], persons[:15], persons[15:], device="cpu"), wanted)


def test_the_gallery_in_pieces_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery, labels = world(3)
    whole = score(query, gallery, *labels, device="cpu")
    monkeypatch.setattr("naic_reid.retrieval.vectors._STEP", 50)
    assert score(query, gallery, *labels, device="cpu") == pytest.approx(whole, abs=1e-9)


def test_whole_rows_count_as_pieces_do(monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery, labels = world(4)
    pieces = score(query, gallery, *labels, device="cpu")
    monkeypatch.setattr(scoring, "_by_pieces", lambda member, *how: scoring._by_rows(member, PLAIN, *how))
    assert score(query, gallery, *labels, device="cpu") == pytest.approx(pieces, abs=1e-9)


@pytest.mark.parametrize("protocol", ["market", "single_shot"])
def test_rates_are_not_told_of_too_many_pairs(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery, labels = world(4)
    assert "TPR@FPR=0.01" in score(query, gallery, *labels, protocol=protocol, device="cpu")
    monkeypatch.setattr("naic_reid.retrieval.metrics.MOST_PAIRS", 1000)
    assert "TPR@FPR=0.01" not in score(query, gallery, *labels, protocol=protocol, device="cpu")


def test_junk_is_counted_past_without_a_copy_of_the_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery, labels = world(4)
    given = []
    made = scoring.Member
    monkeypatch.setattr(scoring, "Member", lambda *rows, **how: given.append(rows[1]) or made(*rows, **how))
    score(query, gallery, *labels, device="cpu")
    assert np.shares_memory(given[0], gallery)


def test_re_ranked_scores_leave_junk_out_first() -> None:
    query, gallery, labels = world(5)
    kept = np.flatnonzero(np.array(labels[1]) != -1)
    without = [labels[0], np.array(labels[1])[kept].tolist(), labels[2], np.array(labels[3])[kept].tolist()]
    distances = dense.re_ranking(query, gallery[kept], 10, 3, 0.3)
    found = score(query, gallery, *labels, rerank=Reranking(10, 3, 0.3), device="cpu")
    agree(found, expected(distances, without))


def test_without_cameras_none_is_left_out_and_names_do_as_well_as_numbers() -> None:
    query, gallery, labels = world(6)
    names = [[f"p{n}" if n >= 0 else "-1" for n in values] for values in labels[:2]]
    found = score(query, gallery, *names, device="cpu")
    assert found == score(query, gallery, *labels[:2], protocol="naic", device="cpu")
    assert found["mAP"] != score(query, gallery, *labels, device="cpu")["mAP"]


def test_a_label_is_the_same_whatever_the_type_of_its_number() -> None:
    query, gallery, labels = world(6)
    wanted = score(query, gallery, *labels, device="cpu")
    floats = [np.array(values, float) for values in labels]  # as pandas and NumPy read columns with gaps
    assert score(query, gallery, floats[0], labels[1], labels[2], floats[3], device="cpu") == wanted
    assert score(query, gallery, labels[0], floats[1], floats[2], labels[3], device="cpu") == wanted


def test_a_camera_that_is_missing_is_unknown_and_an_identity_must_not_be() -> None:
    query, gallery, labels = world(6)
    unknown = [np.nan] * len(query), [None] * len(gallery)
    found = score(query, gallery, *labels[:2], *unknown, device="cpu")
    assert found == score(query, gallery, *labels[:2], device="cpu")
    with pytest.raises(ReidError, match=r"query: image 2 \(from 0\) has no identity"):
        score(query, gallery, [1, 2, np.nan, *labels[0][3:]], labels[1])


def test_vehicles_are_drawn_from_one_list() -> None:
    rows = clustered(7, 60, 16)
    who = [n % 12 for n in range(60)]
    found = score(rows, rows, who, who, protocol="vehicleid", device="cpu", seed=3)
    assert found["trials"] == 10 and found["queries"] == 48 and found["mAP"] == pytest.approx(found["mINP"])


@pytest.mark.parametrize("method", ["k_reciprocal", "graph"])
def test_a_list_drawn_apart_is_reranked_as_within_each_draw(method: str) -> None:
    rows = clustered(17, 60, 12)
    who = [n % 12 for n in range(60)]
    found = score(rows, rows, who, who, protocol="vehicleid", rerank=Reranking(8, 3, 0.3, method), seed=3)
    labels = numbered(*[Columns([str(n) for n in who], [""] * 60, [False] * 60, [False] * 60, [""] * 60)] * 2)
    each = []
    for queries, gallery in Evaluation(PROTOCOLS["vehicleid"], *labels, seed=3).trials:
        apart = dense.re_ranking if method == "k_reciprocal" else dense.graph_scores
        distances = apart(rows[queries], rows[gallery], 8, 3, 0.3) * (1 if method == "k_reciprocal" else -1)
        lists = [[(who[n], -1) for n in part] for part in (queries, gallery)]
        each.append(oracle.mean_scores(distances.astype(np.float32), *lists)[1])
    for name in ("R1", "R5", "mAP"):
        assert found[name] == pytest.approx(np.mean([one[name] for one in each]), abs=1e-6), name


def test_mistakes_are_told_in_a_sentence() -> None:
    query, gallery, labels = world(8)
    with pytest.raises(ReidError, match="gallery: 360 images, but 359 identities"):
        score(query, gallery, labels[0], labels[1][1:])
    with pytest.raises(ReidError, match="query: 40 images, but 39 cameras"):
        score(query, gallery, labels[0], labels[1], labels[2][1:], labels[3])
    with pytest.raises(ReidError, match="none of 40 queries has a positive"):
        score(query, gallery, labels[0], [99] * 360)


@pytest.mark.parametrize("crossed", [False, True])
def test_scores_are_those_of_the_protocol(crossed: bool) -> None:
    rng = np.random.default_rng(5)
    distances = rng.random((7, 30)).astype(np.float32)
    persons, shown = rng.integers(0, 4, 7), rng.integers(-1, 5, 30)
    cameras, places = rng.integers(0, 2, 7), rng.integers(0, 2, 30)
    queries = list(zip(persons.tolist(), cameras.tolist(), strict=True))
    gallery = list(zip(shown.tolist(), places.tolist(), (shown == -1).tolist(), strict=True))
    valid, expected = oracle.mean_scores(distances.tolist(), queries, gallery, crossed)
    found = score_distances(distances, persons, shown, *((cameras, places) if crossed else ()))
    assert found["queries"] == valid
    for name in ("R1", "R5", "R10", "mAP", "mINP"):
        assert found[name] == pytest.approx(expected[name]), name


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: score_distances(np.zeros((2, 3)), [1], [1, 1, 1]), "query: 2 images, but 1 identities"),
        (lambda: score_distances(np.zeros((1, 2)), [1], [1, 2], [1]), "cameras of both"),
        (lambda: score_distances(np.zeros((1, 2)), [1], [1, 2], protocol="golf"), "golf.* is unknown"),
        (lambda: score_distances(np.zeros((1, 2)), [3], [1, 2]), "none of 1 queries has a positive"),
        (lambda: score_distances(np.array([[0.1, np.nan]]), [1], [1, 1]), "query 0 and gallery 1 .*is nan"),
        (lambda: score_distances(np.array([[np.inf, 0.1]]), [1], [1, 1]), "query 0 and gallery 0 .*is inf"),
        (lambda: score_distances(np.zeros(2), [1], [1, 2]), r"must be \[queries, gallery images\]"),
        (lambda: score(np.zeros(2), np.zeros((1, 2)), [1], [1]), r"query: must be floats"),
    ],
)  # fmt: skip
def test_a_mistake_with_distances_is_told_in_a_sentence(call, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ReidError, match=says):
        call()


def test_examples_in_the_docstrings() -> None:
    found = doctest.testmod(scoring)
    assert (found.attempted >= 4, found.failed) == (True, 0)
