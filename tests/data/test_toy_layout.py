"""The layout: every trap that real releases hold is in it, also with very few persons."""

from collections import Counter, defaultdict

import pytest

from naic_reid.data.toy_layout import WRONG_NAMES, Layout, Shot, domain_of, layout

SIZES = [(8, 4, 4, 2), (48, 16, 10, 4)]


@pytest.fixture(params=SIZES, ids=str)
def plan(request: pytest.FixtureRequest) -> Layout:
    return layout(7, *request.param)


def shots(plan: Layout) -> dict[str, Shot]:
    return {shot.path: shot for shot in plan.shots}


def listed(plan: Layout, source: str) -> list[tuple[Shot, str]]:
    """(file, label) of every line of a source's list, read in the simplest way."""
    folder = f"train_{source}" + ("/images" if source.startswith("2020") else "")
    lines = plan.lists[f"train_{source}/train_list.txt"].decode().split("\n")
    pairs = [line.strip().replace(":", " ").split(" ") for line in lines if line.strip()]
    return [(shots(plan)[f"{folder}/{name}"], label) for name, label in pairs]


def pixels(source: list[tuple[Shot, str]]) -> dict[tuple[int, int], set[str]]:
    found = defaultdict(set)
    for shot, label in source:
        found[shot.person, shot.image].add(label)
    return found


def test_every_file_has_its_own_name_and_every_training_file_is_listed(plan: Layout) -> None:
    assert len(shots(plan)) == len(plan.shots)
    training = {path for path in shots(plan) if path.startswith("train_")}
    in_lists = {shot.path for source in SOURCES for shot, _ in listed(plan, source)}
    assert in_lists == training


def test_labels_are_the_persons_that_most_of_their_images_show(plan: Layout) -> None:
    labels = {}
    for source in SOURCES:
        shown = defaultdict(Counter)
        for shot, label in listed(plan, source):
            shown[f"{source.replace('_', '')}/{label}"][shot.person] += 1
        labels |= {label: persons.most_common(1)[0][0] for label, persons in shown.items()}
    assert plan.labels == labels


def test_names_are_nine_digits_in_2019_and_eight_otherwise(plan: Layout) -> None:
    for path in shots(plan):
        stem = path.split("/")[-1].removesuffix(".png")
        assert stem.isdigit()
        assert len(stem) == (9 if path.startswith("train_2019") else 8)


def test_copies_across_sources_come_with_equal_and_with_other_bytes(plan: Layout) -> None:
    for first, second in (("2020_fs", "2020_cs"), ("2019_fs", "2019_cs")):
        kinds = set()
        for (a, _), (b, _) in ((x, y) for x in listed(plan, first) for y in listed(plan, second)):
            if (a.person, a.image) == (b.person, b.image):
                kinds.add("bytes" if a.compression == b.compression else "pixels")
        assert kinds == {"bytes", "pixels"}


def test_a_person_under_two_labels_is_linked_by_a_shared_image_and_has_others_under_both(
    plan: Layout,
) -> None:
    fs, cs = (
        {(s.person, s.image) for s, _ in listed(plan, name) if s.person == 0}
        for name in ("2020_fs", "2020_cs")
    )
    assert fs & cs
    assert fs - cs
    assert cs - fs


def test_an_image_is_under_two_persons_as_a_copy_and_as_one_name_on_two_lines(plan: Layout) -> None:
    torn = [
        shot for shot, _ in listed(plan, "2020_fs") if len(pixels(listed(plan, "2020_fs"))[key(shot)]) > 1
    ]
    assert len(torn) == 2
    assert torn[0].path != torn[1].path
    twice = [
        shot.path
        for shot, _ in listed(plan, "2019_cs")
        if len(pixels(listed(plan, "2019_cs"))[key(shot)]) > 1
    ]
    assert len(twice) == 2
    assert twice[0] == twice[1]


def test_one_image_is_twice_in_one_source_under_one_label(plan: Layout) -> None:
    source = listed(plan, "2020_fs")
    times = Counter(key(shot) for shot, _ in source if len(pixels(source)[key(shot)]) == 1)
    assert max(times.values()) == 2


def test_the_three_wrong_names_stand_in_2019_under_a_person_they_do_not_show(plan: Layout) -> None:
    wrong = [(s, label) for name in ("2019_fs", "2019_cs") for s, label in listed(plan, name)
             if s.path.endswith(WRONG_NAMES)]  # fmt: skip
    assert {shot.path.split("/")[-1] for shot, _ in wrong} == set(WRONG_NAMES)
    assert {shot.path.split("/")[0] for shot, _ in wrong} == {"train_2019_fs", "train_2019_cs"}
    mates = {s.person for s, label in listed(plan, "2019_fs") if (label == wrong[0][1]) and s != wrong[0][0]}
    assert mates - {wrong[0][0].person}


def test_lists_end_and_break_their_lines_as_real_ones_do(plan: Layout) -> None:
    cs20 = plan.lists["train_2020_cs/train_list.txt"]
    assert cs20.count(b"\n") == cs20.count(b"\r\n") > 0
    lines = cs20.split(b"\r\n")
    assert lines[-1] == b""
    assert lines.count(lines[0]) == 2
    assert not plan.lists["train_2019_cs/train_list.txt"].endswith(b"\n")
    for name in ("2019_fs", "2020_fs"):
        content = plan.lists[f"train_{name}/train_list.txt"]
        assert content.endswith(b"\n")
        assert b"\r" not in content


def test_some_persons_have_a_single_image(plan: Layout) -> None:
    images = defaultdict(set)
    for source in SOURCES:
        for shot, _ in listed(plan, source):
            images[shot.person].add(shot.image)
    assert sum(len(found) == 1 for found in images.values()) == 3


def test_the_truth_names_every_query_and_gallery_image_and_no_training_person(plan: Layout) -> None:
    test = {tuple(path.split("/")[1:]) for path in shots(plan) if path.startswith("image_B_v1_1/")}
    assert {(subset, name) for subset, name, _, _ in plan.truth} == test
    trained = {shot.person for shot in plan.shots if shot.path.startswith("train_")}
    assert not trained & {int(person) for _, _, person, _ in plan.truth}
    for person in {row[2] for row in plan.truth}:
        roles = [row[0] for row in plan.truth if row[2] == person]
        assert roles.count("query") == 2
        assert roles.count("gallery") >= 2


def test_both_domains_hold_half_of_the_persons_and_nobody_changes(plan: Layout) -> None:
    for prefix in ("train_", "image_B"):
        domains = {s.person: s.domain for s in plan.shots if s.path.startswith(prefix)}
        assert all(s.domain == domain_of(s.person) for s in plan.shots)
        share = sum(domain == "green" for domain in domains.values()) / len(domains)
        assert 0.35 < share < 0.65


def test_persons_are_seen_by_several_cameras(plan: Layout) -> None:
    for person in {int(row[2]) for row in plan.truth}:
        assert len({s.camera for s in plan.shots if s.person == person}) > 1


def test_the_seed_orders_the_lists_and_a_label_means_another_person_in_each_source() -> None:
    first, second = (layout(seed, *SIZES[0]) for seed in (1, 2))
    name = "train_2020_fs/train_list.txt"
    assert first.lists[name] != second.lists[name]
    assert sorted(first.lists[name].split()) == sorted(second.lists[name].split())
    named = {frozenset(s.person for s, label in listed(first, name) if label == "1") for name in SOURCES}
    assert len(named) > 1


SOURCES = ("2019_cs", "2019_fs", "2020_cs", "2020_fs")


def key(shot: Shot) -> tuple[int, int]:
    return shot.person, shot.image
