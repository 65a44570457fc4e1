"""The weighted sum of the members' distances, and its best, whatever the blocks and the device."""

import numpy as np
import pytest

from naic_reid.artifacts import Floats
from naic_reid.retrieval import best as nearest_of
from naic_reid.retrieval import distances as engine
from naic_reid.retrieval.distances import PLAIN, Member, Mix
from naic_reid.retrieval.k_reciprocal import Encoding, jaccard_rows
from tests.oracles import rerank as oracle
from tests.retrieval.features import clustered, k_nearest

NUM, QUERIES = 320, 70


def member(seed: int, weight: float = 1.0, dimension: int = 48) -> tuple[Member, Floats, Floats]:
    rows = clustered(seed, NUM, dimension, duplicates=True)
    query, gallery = rows[:QUERIES], rows[QUERIES:]
    jaccard = jaccard_rows(k_nearest(query, gallery, 21), query, gallery, Encoding(20, 4))
    return Member(query, gallery, jaccard, weight), query, gallery


def test_the_sum_is_that_of_the_dense_matrices_with_their_weights() -> None:
    made = [member(1, 1.0, 32), member(2, 0.5, 64), member(3, 2.0, 40)]
    expected = sum(m.weight * oracle.re_ranking(q, g, 20, 4, 0.3) for m, q, g in made)
    indices, distances = nearest_of.best([m for m, _, _ in made], Mix(0.3), NUM)
    full = np.empty((QUERIES, NUM - QUERIES), np.float32)
    np.put_along_axis(full, indices, distances, 1)
    np.testing.assert_allclose(full, expected, atol=1e-5)


def test_the_best_are_the_head_of_the_whole_list_and_ties_go_to_the_lower_index() -> None:
    one, _, _ = member(4)
    indices, distances = nearest_of.best([one], Mix(0.8), NUM)
    head, near = nearest_of.best([one], Mix(0.8), 25)
    np.testing.assert_array_equal(head, indices[:, :25])
    np.testing.assert_array_equal(near, distances[:, :25])
    assert (np.diff(distances, axis=1) >= 0).all()
    tied = np.diff(distances, axis=1) == 0
    assert tied.any()  # duplicates are among the features
    assert (np.diff(indices, axis=1)[tied] > 0).all()


def test_block_length_and_threads_never_change_a_bit() -> None:
    members = [member(5)[0], member(6, 3.0)[0]]
    first = nearest_of.best(members, Mix(0.8), 50, block=QUERIES, threads=1)
    for block, threads in [(1, 1), (7, 2), (64, 3)]:
        again = nearest_of.best(members, Mix(0.8), 50, block=block, threads=threads)
        np.testing.assert_array_equal(again[0], first[0])
        np.testing.assert_array_equal(again[1], first[1])


def test_one_member_fused_is_its_own_ranking_whatever_its_weight() -> None:
    rows = clustered(7, NUM, 48)
    query, gallery = rows[:QUERIES], rows[QUERIES:]
    jaccard = jaccard_rows(k_nearest(query, gallery, 21), query, gallery, Encoding(20, 4))
    one, _ = nearest_of.best([Member(query, gallery, jaccard)], Mix(), 30)
    heavy, _ = nearest_of.best([Member(query, gallery, jaccard, 4.0)], Mix(), 30)
    np.testing.assert_array_equal(one, heavy)


def test_plain_distances_are_one_minus_cosine() -> None:
    rows = clustered(8, 90, 20)
    alone = Member(rows[:9], rows[9:])
    total = engine.summed([alone], PLAIN, 0, 9)
    np.testing.assert_allclose(total, 1 - rows[:9] @ rows[9:].T, atol=1e-6)


def test_the_product_reads_a_gallery_longer_than_one_piece() -> None:
    rng = np.random.default_rng(9)
    gallery = rng.normal(size=(9000, 4)).astype(np.float32)
    query = rng.normal(size=(3, 4)).astype(np.float32)
    unit = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    expected = (query / np.linalg.norm(query, axis=1, keepdims=True)) @ unit.T
    np.testing.assert_allclose(engine.summed([Member(query, gallery)], PLAIN, 0, 3), 1 - expected, atol=1e-6)


@pytest.mark.parametrize("sampled_are", ["like others", "far", "near"])
def test_a_long_gallery_is_ordered_below_a_limit_that_a_sample_suggests(sampled_are: str) -> None:
    rng = np.random.default_rng(15)
    query, gallery = (rng.normal(size=(num, 6)).astype(np.float32) for num in (5, 3000))
    if sampled_are != "like others":  # the limit is then far too high, or below what is asked for
        gallery[::16] = (1 if sampled_are == "near" else -1) * query[0]
        query[:] = query[0] + 0.1 * rng.normal(size=(5, 6))
    one = Member(query, gallery)
    whole, distances = nearest_of.best([one], PLAIN, 3000)
    assert (np.sort(whole, axis=1) == np.arange(3000)).all()
    for num in (1, 40, 250):
        head, near = nearest_of.best([one], PLAIN, num)
        np.testing.assert_array_equal(head, whole[:, :num])
        np.testing.assert_array_equal(near, distances[:, :num])


@pytest.mark.parametrize(("num_query", "num_gallery"), [(0, 5), (5, 0), (0, 0), (3, 2)])
def test_short_and_empty_galleries_give_what_there_is(num_query: int, num_gallery: int) -> None:
    rows = clustered(10, 10, 8)
    indices, distances = nearest_of.best(
        [Member(rows[:num_query], rows[num_query : num_query + num_gallery])], PLAIN, 200
    )
    assert indices.shape == distances.shape == (num_query, num_gallery)


@pytest.mark.parametrize("mix", [Mix(0.3), Mix(0.3, "none", 2), PLAIN])
def test_measuring_by_torch_as_on_a_gpu_gives_the_same_bits(mix: Mix) -> None:
    members = [member(11)[0], member(12, 3.0)[0]]
    first = nearest_of.best(members, mix, 50)
    for one in members:
        one.vectors.compiled = False
    again = nearest_of.best(members, mix, 50, block=33)
    np.testing.assert_array_equal(again[0], first[0])
    np.testing.assert_array_equal(again[1], first[1])


def test_a_list_crowded_by_equal_images_is_made_longer() -> None:
    rows = clustered(13, 700, 24)
    rows[100:600] = rows[100]
    query, gallery = rows[90:105], rows[105:]
    whole, _ = nearest_of.best([Member(query, gallery)], PLAIN, len(gallery))
    head, _ = nearest_of.best([Member(query, gallery)], PLAIN, 10)
    np.testing.assert_array_equal(head, whole[:, :10])


@pytest.mark.parametrize("dimension", [3, 17, 35])
def test_what_a_product_tells_apart_and_the_definition_does_not_ranks_by_index(dimension: int) -> None:
    signs = np.random.default_rng(dimension).choice([-1, 1], size=(330, dimension))
    rows = (signs * 10.0 ** np.linspace(-1, 1, 330)[:, None]).astype(np.float32)
    expected = np.argsort(-signs[:30] @ signs[30:].T, axis=1, kind="stable")[:, :9]
    for compiled in (True, False):
        fused = Member(rows[:30], rows[30:])
        fused.vectors.compiled = compiled
        np.testing.assert_array_equal(nearest_of.best([fused], PLAIN, 9)[0], expected)


def test_measured_pairs_are_those_of_the_whole_ranking() -> None:
    one, _, _ = member(14)
    indices, values = nearest_of.best([one], Mix(0.3), NUM)
    begin = np.cumsum([0, *np.arange(QUERIES) % 4])
    rows = np.concatenate([indices[q, :: 1 + q % 3][: q % 4] for q in range(QUERIES)])
    expected = np.concatenate([values[q, :: 1 + q % 3][: q % 4] for q in range(QUERIES)])
    np.testing.assert_array_equal(engine.measured_pairs([one], Mix(0.3), rows, begin), expected)
