"""The same image more than once: what stays, what goes, and who is one person."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from naic_reid.data.duplicates import Link, chain, components, groups, judge, near, unite
from tests.oracles import lists as oracle

keys = st.lists(st.sampled_from("abcdef"), max_size=20)
people = st.lists(st.sampled_from([f"{s}/{n}" for s in "xyz" for n in range(4)]), min_size=20, max_size=20)


@given(keys)
def test_groups_are_those_of_the_comparison_of_all_pairs(found: list[str]) -> None:
    assert groups(dict(enumerate(found))) == oracle.groups(found)


def test_the_first_row_is_kept_and_the_others_say_which() -> None:
    verdict = judge([[1, 4, 6]], ["", "x/1", "", "", "y/2", "", "x/1"])
    assert verdict.repeats == {4: 1, 6: 1}
    assert verdict.links == [Link(1, 4)]
    assert not verdict.conflicts


def test_two_identities_of_one_source_are_a_conflict_and_both_go() -> None:
    verdict = judge([[0, 1]], ["x/1", "x/2"])
    assert verdict.conflicts == {0: ("x/2",), 1: ("x/1",)}
    assert not verdict.repeats
    assert not verdict.links


def test_a_conflict_in_one_source_leaves_the_copy_of_another_and_unites_nobody() -> None:
    verdict = judge([[0, 1, 2]], ["x/1", "y/1", "y/2"])
    assert set(verdict.conflicts) == {1, 2}
    assert not verdict.repeats
    assert not verdict.links


@given(keys, people)
def test_every_row_of_a_group_but_one_is_dropped_unless_sources_contradict_themselves(
    found: list[str], identities: list[str]
) -> None:
    for rows in groups(dict(enumerate(found))):
        verdict = judge([rows], identities)
        left = set(rows) - set(verdict.conflicts) - set(verdict.repeats)
        assert len(left) == (0 if len(verdict.conflicts) == len(rows) else 1)
        assert not set(verdict.conflicts) & set(verdict.repeats)
        assert all(first in left for first in verdict.repeats.values())


links = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=15)


@given(links, people)
def test_united_identities_are_those_of_relabelling_until_nothing_changes(
    pairs: list[tuple[int, int]], identities: list[str]
) -> None:
    expected = oracle.united(pairs, identities)
    united = unite([Link(*pair) for pair in pairs], identities)
    assert united.keys() == expected.keys()
    for one, other in itertools.combinations(sorted(united), 2):
        assert (united[one] == united[other]) == (other in expected[one])


@given(links, people, st.randoms(use_true_random=False))
def test_the_order_of_links_changes_nothing(
    pairs: list[tuple[int, int]], identities: list[str], random: "object"
) -> None:
    shuffled = pairs.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    united = unite([Link(*pair) for pair in pairs], identities)
    assert unite([Link(*pair) for pair in shuffled], identities) == united
    assert unite([Link(second, first) for first, second in pairs], identities) == united


@given(links, people)
def test_a_person_is_called_by_the_first_linked_row(
    pairs: list[tuple[int, int]], identities: list[str]
) -> None:
    united = unite([Link(*pair) for pair in pairs], identities)
    for name, members in components(united).items():
        rows = [row for pair in pairs for row in pair if identities[row] in members]
        assert name == identities[min(rows)]


@given(links, people)
def test_the_chain_joins_all_of_a_person_and_no_link_is_superfluous(
    pairs: list[tuple[int, int]], identities: list[str]
) -> None:
    every = [Link(*pair) for pair in pairs]
    for name, members in components(unite(every, identities)).items():
        used = chain(every, identities, name)
        assert len(used) == len(members) - 1
        reached = {name}
        for link in used:  # outwards: each link touches what was reached before
            ends = {identities[link.first], identities[link.second]}
            assert reached & ends
            reached |= ends
        assert reached == set(members)


def test_components_come_largest_first() -> None:
    united = {"a": "a", "b": "a", "c": "c", "d": "c", "e": "c", "f": "f", "g": "f"}
    assert components(united) == {"c": ["c", "d", "e"], "a": ["a", "b"], "f": ["f", "g"]}
    assert next(iter(components(united))) == "c"


scenes = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=12)


@given(scenes, st.lists(st.sets(st.integers(0, 63), max_size=7), max_size=6), st.integers(0, 6))
def test_near_pairs_are_those_of_the_comparison_of_all_pairs(
    drawn: list[int], changes: list[set[int]], bits: int
) -> None:
    rows = drawn + [drawn[0] ^ sum(1 << bit for bit in changed) for changed in changes]
    firsts = {scene: rows.index(scene) for scene in rows}
    expected = sorted(
        [(0, firsts[scene], row) for row, scene in enumerate(rows) if firsts[scene] != row]
        + [
            ((rows[a] ^ rows[b]).bit_count(), a, b)
            for a, b in itertools.combinations(sorted(firsts.values()), 2)
            if (rows[a] ^ rows[b]).bit_count() <= bits
        ]
    )
    assert near(np.array(rows, np.uint64), bits) == expected
