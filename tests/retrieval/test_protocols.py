"""Protocols: who meets whom, what one trial is, and test sets that cannot be scored."""

import numpy as np
import pytest

from naic_reid.errors import ReidError
from naic_reid.retrieval import metrics, protocols
from naic_reid.retrieval.evaluation import Evaluation, of_distances
from naic_reid.retrieval.protocols import PROTOCOLS, Columns, Labels, numbered
from tests.oracles import metrics as oracle


def columns(identities: str, cameras: str = "", marks: str = "", groups: str = "") -> Columns:
    """One word an image; J marks junk, D a distractor."""
    names = identities.split()
    marked = marks.split() or [""] * len(names)
    return Columns(
        names,
        cameras.split() or [""] * len(names),
        [mark == "J" for mark in marked],
        [mark == "D" for mark in marked],
        groups.split() or [""] * len(names),
    )


def test_equal_names_are_equal_numbers_in_both_lists_and_marks_are_nobody() -> None:
    query, gallery = numbered(columns("b a", "1 2"), columns("a c a 0 -1", "2 2 1 1 1", "- - - D J"))
    assert query.identities[1] == gallery.identities[0] == gallery.identities[2]
    assert gallery.identities[3:].tolist() == [-1, -1]
    assert gallery.junk.tolist() == [False, False, False, False, True]
    assert query.cameras[1] == gallery.cameras[0]


def test_a_camera_that_is_not_known_equals_none() -> None:
    query, gallery = numbered(columns("a"), columns("a a"))
    found = protocols.meetings(PROTOCOLS["market"], query, gallery)
    assert found.positives.tolist() == [0, 1] and found.left_out.tolist() == []


def test_all_of_the_rule_is_told_in_words() -> None:
    for protocol in PROTOCOLS.values():
        assert set(protocol.rules) == {"cameras", "trial", "AP", "denominator"}
    assert "its camera" in PROTOCOLS["market"].rules["cameras"]
    assert "equal" in PROTOCOLS["naic"].rules["cameras"]


def test_an_unknown_protocol_is_answered_with_those_there_are() -> None:
    with pytest.raises(ReidError, match="there are: naic, market"):
        protocols.named("markt")


def test_a_test_set_without_positives_is_refused_with_the_rule_that_emptied_it() -> None:
    query, gallery = numbered(columns("a b c", "1 1 1"), columns("a b d", "1 1 2"))
    sentence = r"under the protocol market none of 3 queries.*persons of 1 .*those of 2 only images of"
    with pytest.raises(ReidError, match=sentence):
        protocols.require_positives(PROTOCOLS["market"], query, gallery, "evaluate")
    protocols.require_positives(PROTOCOLS["naic"], query, gallery, "evaluate")


def vehicles(num: int) -> Labels:
    names = " ".join(f"v{image % 4}" for image in range(num))
    return numbered(columns(names))[0]


def test_vehicleid_draws_one_image_of_each_identity_ten_times() -> None:
    listed = vehicles(23)
    made = Evaluation(PROTOCOLS["vehicleid"], listed, listed, seed=5)
    assert len(made.trials) == 10
    for queries, gallery in made.trials:
        assert sorted([*queries, *gallery]) == list(range(23))
        assert sorted(listed.identities[gallery]) == [0, 1, 2, 3]
    again = Evaluation(PROTOCOLS["vehicleid"], listed, listed, seed=5)
    other = Evaluation(PROTOCOLS["vehicleid"], listed, listed, seed=6)
    drawn = [[trial.gallery.tolist() for trial in one.trials] for one in (made, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_vehicleid_scores_are_means_over_the_draws() -> None:
    listed = vehicles(23)
    distances = np.random.default_rng(0).random((23, 23)).astype(np.float32)
    scored = of_distances(distances, listed, listed, PROTOCOLS["vehicleid"], seed=5)
    each = []
    for queries, gallery in Evaluation(PROTOCOLS["vehicleid"], listed, listed, seed=5).trials:
        entries = [[(int(p), -1) for p in listed.identities[rows]] for rows in (queries, gallery)]
        num, means = oracle.mean_scores(distances[np.ix_(queries, gallery)], *entries)
        assert num == 19
        assert means["mAP"] == pytest.approx(means["mINP"])  # one image each: 1 / rank, both
        each.append(means)
    for name in ("R1", "R5", "R10", "mAP", "mINP"):
        values = [means[name] for means in each]
        assert scored[name] == pytest.approx(np.mean(values), abs=1e-9)
        assert scored["deviation"][name] == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    assert scored["queries"] == 19 and scored["trials"] == 10


def test_vehicleid_wants_one_list() -> None:
    with pytest.raises(ReidError, match="must both be the list of all test images"):
        Evaluation(PROTOCOLS["vehicleid"], vehicles(5), vehicles(6))


def test_worked_example_of_vehicles() -> None:
    distances = np.array([[1, 2, 3, 4], [2, 1, 3, 4], [2, 3, 1, 4]], np.float32)
    query, gallery = numbered(columns("a a d"), columns("a b c d"))
    scored = of_distances(distances, query, gallery, PROTOCOLS["naic"])
    assert [round(scored[n], 6) for n in ("R1", "R5", "mAP", "mINP")] == [0.333333, 1, 0.583333, 0.583333]


def test_the_head_says_who_is_right_wrong_and_not_met() -> None:
    query, gallery = numbered(columns("a b", "1 1"), columns("a a b -1 c", "1 2 2 2 2", "- - - J -"))
    evaluation = Evaluation(PROTOCOLS["market"], query, gallery)
    head = evaluation.head(np.array([[1, 2, 2, 0, 3], [5, 4, 3, 2, 1]], np.float32), 0, 4)
    assert head.indices.tolist() == [[3, 0, 1, 2], [4, 3, 2, 1]]
    assert head.distances.tolist() == [[0, 1, 2, 2], [1, 2, 3, 4]]
    right, wrong, not_met = 1, 0, -1  # junk, then the query's own camera; another camera's image is right
    assert head.marks.tolist() == [[not_met, not_met, right, wrong], [wrong, not_met, right, wrong]]


def test_groups_are_all_pairs_of_a_query_and_a_gallery_group() -> None:
    names, groups = "a b c a b c", "1 1 1 2 2 2"
    query, gallery = numbered(columns(names, groups=groups), columns(names, groups=groups))
    distances = np.random.default_rng(2).random((6, 6)).astype(np.float32)
    scored = of_distances(distances, query, gallery, PROTOCOLS["groups"])
    each = []
    for i in (0, 3):
        for j in (0, 3):
            people = [(0, 0), (1, 0), (2, 0)]
            each.append(oracle.mean_scores(distances[i : i + 3, j : j + 3], people, people)[1])
    for name in ("R1", "mAP"):
        assert scored[name] == pytest.approx(np.mean([means[name] for means in each]), abs=1e-9)
    assert scored["trials"] == 4
    with pytest.raises(ReidError, match="name no groups"):
        Evaluation(PROTOCOLS["groups"], query, numbered(columns(names))[0])


def test_groups_of_other_persons_are_no_trial() -> None:
    query, gallery = numbered(columns("a b", groups="1 2"), columns("a c b", groups="1 1 2"))
    found = of_distances(np.array([[1, 0, 0], [0, 0, 1]], np.float32), query, gallery, PROTOCOLS["groups"])
    # Only 1 × 1, where c comes first, and 2 × 2 show somebody twice.
    assert (found["R1"], found["mAP"], found["queries"]) == (0.5, 0.75, 1)


def test_single_gallery_shot_draws_for_cmc_and_takes_the_whole_list_for_ap() -> None:
    rng = np.random.default_rng(4)
    names = [f"p{n}" for n in rng.integers(0, 5, 30)]
    cameras = [str(n) for n in rng.integers(0, 2, 30)]
    query, gallery = numbered(
        columns(" ".join(names[:8]), " ".join(cameras[:8])),
        columns(" ".join(names[8:]), " ".join(cameras[8:])),
    )
    distances = rng.random((8, 22)).astype(np.float32)
    protocol = PROTOCOLS["single_shot"]
    scored = of_distances(distances, query, gallery, protocol, seed=3)
    entries = [
        list(zip(one.identities.tolist(), one.cameras.tolist(), strict=True)) for one in (query, gallery)
    ]
    num, means = oracle.mean_scores(distances, *entries, cross_camera=True)
    assert scored["mAP"] == pytest.approx(means["mAP"], abs=1e-9)
    first = []
    for order in protocols.orders(22, 3):
        ranks = [
            oracle.single_shot_rank(distances[q], entries[0][q], entries[1], order.tolist()) for q in range(8)
        ]
        first.append(sum(rank == 1 for rank in ranks) / num)
    assert scored["R1"] == pytest.approx(np.mean(first), abs=1e-9)


def test_of_equal_distances_the_lower_index_comes_first_among_those_drawn() -> None:
    query, gallery = numbered(columns("a b"), columns("b a", marks="- -"))
    found = of_distances(np.zeros((2, 2), np.float32), query, gallery, PROTOCOLS["single_shot"])
    assert (found["R1"], found["R5"]) == (0.5, 1)  # b stands first: a's is the second


def test_each_distractor_is_drawn_for_itself() -> None:
    query, gallery = numbered(columns("a"), columns("0 0 0 0 0 a", marks="D D D D D -"))
    nearest_last = np.array([[1, 2, 3, 4, 5, 6]], np.float32)
    found = of_distances(nearest_last, query, gallery, PROTOCOLS["single_shot"])
    assert (found["R5"], found["R10"]) == (0, 1)


def test_images_of_nobody_are_averaged_for_nobody() -> None:
    more = np.array([[0, 1]], np.float32)
    of_query, of_more = numbered(columns("0", "1", "D"), columns("0", "1", "D"))
    found, kept = protocols.averaged(np.array([[1, 0]], np.float32), of_query, more, of_more)
    assert (found.tolist(), kept) == ([[1, 0]], 1)


def test_multiple_queries_are_the_mean_of_identity_and_camera() -> None:
    query = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    more = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
    of_query, of_more = numbered(columns("a a b", "1 2 1"), columns("a a a", "1 1 3"))
    found, kept = protocols.averaged(query, of_query, more, of_more)
    np.testing.assert_allclose(found, [[0.8, 0.4], [1, 0], [0, 1]], atol=1e-6)
    assert kept == 2
    gallery = np.array([[1, 0], [0.8, 0.6]])
    np.testing.assert_allclose(found[0] @ gallery.T, [0.8, 0.88], atol=1e-6)


def test_asking_all_with_all_finds_what_each_one_finds_among_the_others() -> None:
    """NP at y = 1 is X223: an image is of its own person and camera, and so never met."""
    rng = np.random.default_rng(0)
    labels = Labels(rng.integers(6, size=40), rng.integers(2, size=40), np.zeros(40, bool), np.full(40, -1))
    distances = rng.random((40, 40), np.float32)

    def first_and_precision(rows: np.ndarray, columns: np.ndarray) -> tuple[list[int], list[float]]:
        block = distances[np.ix_(rows, columns)]
        met = protocols.meetings(PROTOCOLS["market"], labels.at(rows), labels.at(columns))
        same = metrics.positives_of(block, met)
        found = metrics.hits(metrics.count(block, 0, same, met), met)
        return found.first.tolist(), found.precisions.tolist()

    everyone = np.arange(40)
    together = first_and_precision(everyone, everyone)
    alone = [first_and_precision(everyone[i : i + 1], np.delete(everyone, i)) for i in everyone]
    assert together == ([one[0] for one, _ in alone], [one[0] for _, one in alone])
