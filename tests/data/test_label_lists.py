"""Label lists: what a line may look like, and how everything else is refused."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from naic_reid.data import label_lists
from naic_reid.data.label_lists import Entry, absent, parse, unplain
from tests.oracles import lists as oracle

REAL = Path(__file__).parents[3] / "shared" / "naic_lists"
real = pytest.mark.real


def _pairs(content: bytes) -> list[tuple[str, str]]:
    entries, problems = parse(content, "list")
    assert not problems
    return [(entry.name, entry.label) for entry in entries]


@pytest.mark.parametrize("separator", [" ", ":", "\t", ",", " : ", ", ", "   "])
def test_a_line_is_cut_at_its_last_separator(separator: str) -> None:
    assert _pairs(f"train/a b:c.png{separator}17\n".encode()) == [("train/a b:c.png", "17")]


def test_separators_may_differ_from_line_to_line() -> None:
    assert _pairs(b"a.png 1\nb.png:2\nc.png\t3\nd.png,4") == [
        ("a.png", "1"), ("b.png", "2"), ("c.png", "3"), ("d.png", "4"),
    ]  # fmt: skip


def test_what_carries_no_meaning_is_ignored() -> None:
    plain = b"a.png:1\nb.png:1\n"
    dressed = b"\xef\xbb\xbf  a.png:1\r\n\r\n \t\n\tb.png:1  "
    assert _pairs(dressed) == _pairs(plain)


def test_a_last_line_without_a_newline_is_the_same_person() -> None:
    assert [label for _, label in _pairs(b"a.png 7\nb.png 7")] == ["7", "7"]


def test_leading_zeros_do_not_make_another_person() -> None:
    assert [label for _, label in _pairs(b"a.png 007\nb.png 7\nc.png 000")] == ["7", "7", "0"]


def test_line_numbers_count_blank_lines() -> None:
    entries, _ = parse(b"\n\r\na.png 1\n\nb.png 2\n", "list")
    assert [entry.line for entry in entries] == [3, 5]


def test_repeated_lines_are_kept_for_the_table_of_what_is_dropped() -> None:
    assert len(_pairs(b"a.png 1\na.png 1\n")) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a.png", "no separator"),
        (b":5", "no name before the label"),
        (b"a.png|5", "no separator"),
        (b"a.png:", "the label '' is no whole number"),
        (b"a.png:-1", "the label '-1' is no whole number"),
        (b"a.png 1.0", "the label '1.0' is no whole number"),
        (b"a.png person", "the label 'person' is no whole number"),
        ("a.png ٣".encode(), "the label '٣' is no whole number"),
        (b"a.png 1234567890123456789", "no whole number"),
        (b"../../etc/passwd:1", "the path leaves the source's folder"),
        (b"a/../../b.png 1", "the path leaves the source's folder"),
        (b"/etc/passwd:1", "an absolute path"),
        (b"C:/a.png 1", "an absolute path"),
        (b"a\\b.png 1", "a backslash in the name"),
        (b"./a.png 1", "no plain path"),
        (b"a//b.png 1", "no plain path"),
        (b"a\tb.png 1", "a control character"),
        (b"a\rb.png 1", "a control character"),
        (b"\xff\xfea.png 1", "not UTF-8"),
        ("é.png 1".encode("latin-1"), "not UTF-8"),
        (b"\x89PNG\r\0\0\0", "a binary file"),
        (b"a" * 10_000_000 + b" 1", "a line of 10,000,002 bytes"),
    ],
    ids=range(22),
)
def test_a_bad_line_is_named_with_its_place_and_reason(line: bytes, reason: str) -> None:
    entries, problems = parse(b"good.png 1\n" + line + b"\ngood.png:2\n", "some/list.txt")
    assert [entry.label for entry in entries] == ["1", "2"]
    assert len(problems) == 1
    assert problems[0].startswith("some/list.txt:2: ")
    assert reason in problems[0]
    assert len(problems[0]) < 300
    assert problems[0].isprintable()


def test_every_bad_line_is_named() -> None:
    _, problems = parse(b"a\nb.png 1\nc\n\nd\n", "list")
    assert [problem.split(": ")[0] for problem in problems] == ["list:1", "list:3", "list:5"]


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_list_is_refused(content: bytes) -> None:
    assert parse(content, "list") == ([], ["list:1: the list holds no lines: (empty)"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_refused_once_and_named(encoding: str) -> None:
    content = ("\ufeff" if encoding == "utf-16-be" else "") + "a.png 1\nb.png 2\n"
    entries, problems = parse(content.encode(encoding), "list")
    assert not entries
    assert len(problems) == 1
    assert "save the list as UTF-8" in problems[0]


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf\xef\xbb\xbfa 1")
@example(b"a 1\x0b2")
def test_any_bytes_give_entries_or_problems_and_never_an_error(content: bytes) -> None:
    entries, problems = parse(content, "list")
    assert entries or problems
    assert all(entry.label == str(int(entry.label)) and not unplain(entry.name) for entry in entries)
    assert all(problem.startswith("list:") and problem.isprintable() for problem in problems)
    numbers = [entry.line for entry in entries]
    assert numbers == sorted(set(numbers))


names = st.from_regex(r"[a-z0-9é_ .:,-]{0,8}[a-z0-9é](/[a-z0-9]{1,3})?\.png", fullmatch=True)


@given(st.lists(st.tuples(names, st.sampled_from(" :\t,"), st.integers(0, 10**9)), min_size=1))
def test_lines_are_read_as_the_obvious_reader_reads_them(lines: list[tuple[str, str, int]]) -> None:
    texts = [f"{name}{separator}{label}" for name, separator, label in lines]
    entries, problems = parse("\n".join(texts).encode(), "list")
    found = {entry.line: (entry.name, entry.label) for entry in entries}
    for number, text in enumerate(texts, start=1):
        expected = oracle.line(text)
        if number in found:
            assert found[number] == expected
        else:  # what the obvious reader takes, this one refuses only as no plain path
            assert expected is None or unplain(expected[0])
    assert len(entries) + len(problems) == len(lines)


@given(st.lists(st.tuples(names, st.integers(0, 99)), min_size=1), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_line_ends_change_nothing(lines: list[tuple[str, int]], end: str) -> None:
    texts = [f"{name} {label}" for name, label in lines]
    first, problems = parse("\n".join(texts).encode(), "list")
    second, others = parse((end.join(texts) + end).encode(), "list")
    assert [entry[1:] for entry in first] == [entry[1:] for entry in second]
    assert len(problems) == len(others)


def _entries(*names: str) -> list[Entry]:
    return [Entry(number, name, "1") for number, name in enumerate(names, start=1)]


def test_images_inside_the_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a b.png").touch()
    (tmp_path / "ü.png").touch()
    (tmp_path / "link.png").symlink_to(tmp_path / "train" / "a b.png")
    assert absent(_entries("train/a b.png", "ü.png", "link.png"), tmp_path, "list") == []


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").touch()
    (tmp_path / "images").symlink_to(tmp_path / "elsewhere")
    assert absent(_entries("a.png"), tmp_path / "images", "list") == []


def test_images_that_are_not_inside_the_folder_are_refused(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    (tmp_path / "secret.png").touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b.png").touch()
    (images / "out.png").symlink_to(tmp_path / "secret.png")
    (images / "round.png").symlink_to(images / "round.png")
    (images / "folder").symlink_to(tmp_path / "outside")
    (images / "dir.png").symlink_to(images / "sub")
    problems = absent(
        _entries("none.png", "out.png", "round.png", "folder/b.png", "sub", "dir.png"), images, "list"
    )
    reasons = dict(problem.removeprefix("list:").split(": ", 1) for problem in problems)
    assert "no such image" in reasons["1"]
    assert "a symbolic link that leaves the source's folder" in reasons["2"]
    assert "leads nowhere" in reasons["3"]
    assert "folder is a symbolic link to a folder" in reasons["4"]
    assert "no such image" in reasons["5"]
    assert "to what is no file" in reasons["6"]


def test_a_missing_folder_names_each_of_its_images(tmp_path: Path) -> None:
    assert len(absent(_entries("a.png", "b.png"), tmp_path / "none", "list")) == 2


@real
def test_the_real_lists_are_read_whole() -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: the real label lists stand beside the checkout")
    expected = {  # file → lines, identities, identities with one image
        "naic20r2_train_list_clean.txt": (201_770, 27_222, 4_152),
        "naic20r1_label.txt": (72_824, 19_658, 4_152),
        "naic19_train_list_clean.txt": (44_563, 7_858, 3_796),
        "naic20r2_val_gallery.txt": (18_947, 2_583, 222),
        "naic20r2_val_query.txt": (2_583, 2_583, 2_583),
    }
    for name, counts in expected.items():
        entries, problems = parse((REAL / name).read_bytes(), name)
        images = Counter(entry.label for entry in entries)
        assert not problems
        assert (len(entries), len(images), sum(num == 1 for num in images.values())) == counts, name
        named: dict[str, set[str]] = {}
        for entry in entries:
            named.setdefault(entry.name, set()).add(entry.label)
        twice = {image: labels for image, labels in named.items() if len(labels) > 1}
        is_2019 = name.startswith("naic19")
        assert twice == ({"train/105180993.png": {"2164", "5721"}} if is_2019 else {}), name


@real
def test_the_first_part_of_the_first_2020_list_is_as_the_reference_counts_it() -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: the real label lists stand beside the checkout")
    entries, _ = parse((REAL / "naic20r1_label.txt").read_bytes(), "list")
    assert len({entry.label for entry in entries[:40_188]}) == 10_047


def test_a_long_list_is_read_in_portions_as_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_lists, "_PORTION", 20)
    content = b"\xef\xbb\xbf" + b"".join(b"%d.png %d\r\n\n" % (image, image // 3) for image in range(50))
    for image in range(0, 50, 7):
        (tmp_path / f"{image}.png").touch()
    whole, _ = parse(content, "list")
    assert label_lists.listed(content, tmp_path, "list") == (whole, absent(whole, tmp_path, "list"), False)
    damaged = content + b"no separator"
    assert label_lists.listed(damaged, tmp_path, "list")[1][-1] == parse(damaged, "list")[1][-1]


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_list_without_lines_is_a_problem(content: bytes, tmp_path: Path) -> None:
    assert label_lists.listed(content, tmp_path, "list") == (
        [],
        ["list:1: the list holds no lines: (empty)"],
        False,
    )


def test_a_list_for_another_folder_is_given_up_early(tmp_path: Path) -> None:
    content = b"".join(b"%d.png 1\n" % image for image in range(400_000))
    entries, problems, gave_up = label_lists.listed(content, tmp_path, "list")
    assert gave_up
    assert label_lists.ENOUGH <= len(problems) == len(entries) < 400_000
    assert problems[0] == f"list:1: no such image in {tmp_path}: 0.png"
