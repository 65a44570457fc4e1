"""The submission validator, on any submission there can be: sound ones pass, and no single fault does."""

import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from naic_reid.artifacts import Ranking, submission

Answers = dict[str, list[str]]
Domains = list[submission.Domain]


@st.composite
def rankings(draw: st.DrawFn) -> list[Ranking]:
    """Rankings of one to three domains, with images of their own."""
    found = []
    for domain in range(draw(st.integers(1, 3))):
        num_query, num_gallery = draw(st.integers(1, 4)), draw(st.integers(1, 230))
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        kept = min(num_gallery, 200)
        order = np.stack([rng.permutation(num_gallery)[:kept] for _ in range(num_query)]).astype(np.int32)
        distances = np.sort(rng.random((num_query, kept), np.float32), axis=1)
        queries = tuple(f"query/q{domain}_{number} ä.png" for number in range(num_query))
        gallery = tuple(f"gallery/g{domain}_{number}.png" for number in range(num_gallery))
        found.append(Ranking(queries, gallery, order, distances))
    return found


def domains(found: list[Ranking]) -> Domains:
    return [tuple([path.split("/")[1] for path in names] for names in (r.queries, r.gallery)) for r in found]  # type: ignore[misc]


@given(rankings())
@settings(max_examples=40, deadline=None)
def test_merged_rankings_are_a_sound_submission_in_whatever_order(found: list[Ranking]) -> None:
    answers = submission.merge(found)
    assert submission.problems(answers, domains(found)) == []
    assert submission.problems(answers) == []
    assert submission.merge(found[::-1]) == answers
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "submission.json"
        path.write_text(json.dumps(answers), encoding="utf-8")
        assert submission.read(path) == answers


@given(rankings(), st.data())
@settings(max_examples=80, deadline=None)
def test_a_submission_with_one_fault_is_refused_with_the_querys_name(
    found: list[Ranking], data: st.DataObject
) -> None:
    answers = submission.merge(found)
    query = data.draw(st.sampled_from(sorted(answers)))
    names = answers[query]
    faults: dict[str, list[str] | None] = {
        "unanswered": None,
        "a name twice": [*names[:-1], names[0]] if len(names) > 1 else [*names, *names],
        "a name of nothing": ["nowhere.png", *names[1:]],
        "too short": names[:-1],
        "too long": [*names, *(f"x{number}.png" for number in range(201))],
    }
    fault = data.draw(st.sampled_from(sorted(faults)))
    changed = faults[fault]
    wrong = {name: value for name, value in answers.items() if name != query}
    if changed is not None:
        wrong[query] = changed
    problems = submission.problems(wrong, domains(found))
    assert any(problem.startswith(f"query {query}: ") for problem in problems), (fault, problems)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
       | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=12))  # fmt: skip
def test_any_json_at_all_is_judged_in_sentences(value: object) -> None:
    problems = submission.problems(value, [(["q.png"], ["g.png"])])
    assert problems
    assert all(isinstance(problem, str) and problem for problem in problems)
