"""Truth tables: what is taken, and that nothing doubtful is."""

import os
from pathlib import Path

import pytest

from naic_reid.data import truth
from naic_reid.errors import ReidError

HEADER = "subset,name,pid,camid\n"
FINE = HEADER + "query,q.png,7,1\ngallery,a.png,007,2\ngallery,b.png,-1,\ngallery,c.png,0,3\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "truth.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_persons_cameras_and_junk_are_read(tmp_path: Path) -> None:
    known = truth.read(written(tmp_path, FINE))
    assert known.of("query", ["q.png"]) == [truth.Person(2, "7", "1")]
    told = known.of("gallery", ["c.png", "b.png", "a.png"])
    assert told == [truth.Person(5, "0", "3"), truth.Person(4, "", ""), truth.Person(3, "7", "2")]
    assert [person.junk for person in told] == [False, True, False]


@pytest.mark.parametrize(
    "text",
    [
        FINE.replace("\n", "\r\n"),
        "\ufeff" + FINE,
        FINE + "\n\n",
        FINE + "gallery,a.png,7,2\n",
        FINE.replace("q.png", '"q.png"'),
        "camid,pid,name,subset\n1,7,q.png,query\n2,7,a.png,gallery\n,-1,b.png,gallery\n3,0,c.png,gallery\n",
    ],
    ids=["CRLF", "byte order mark", "blank lines", "one row twice", "quoted", "other order of columns"],
)
def test_what_carries_no_meaning_changes_nothing(tmp_path: Path, text: str) -> None:
    found, plain = (truth.read(written(tmp_path, content)) for content in (text, FINE))
    for subset, names in (("query", ["q.png"]), ("gallery", ["a.png", "b.png", "c.png"])):
        assert [p[1:] for p in found.of(subset, names)] == [p[1:] for p in plain.of(subset, names)]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("gallery,a.png,8,2", "line 3 says otherwise of this image: gallery,a.png,8,2"),
        ("gallery,a.png,7,3", "line 3 says otherwise"),
        ("gallery,b.png,5,", "line 4 says otherwise"),
        ("gallery,d.png, 7,2", "white space at the end of a cell"),
        ("gallery ,d.png,7,2", "white space at the end of a cell"),
        ("gallery,d.png\u00a0,7,2", "white space at the end of a cell"),
        ("Gallery,d.png,7,2", "the subset 'Gallery' is neither query nor gallery"),
        ("train,d.png,7,2", "the subset 'train' is neither"),
        ("gallery,,7,2", "'' is no file name"),
        ("gallery,g/d.png,7,2", "'g/d.png' is no file name without folders"),
        ("gallery,d.png,,2", "the pid '' is no whole number from 0, nor -1 for junk"),
        ("gallery,d.png,nan,2", "the pid 'nan' is no whole number"),
        ("gallery,d.png,7.0,2", "the pid '7.0' is no whole number"),
        ("gallery,d.png,-2,2", "the pid '-2' is no whole number"),
        ("gallery,d.png,٧,2", "the pid '٧' is no whole number"),
        ("gallery,d.png,7,c2", "the camid 'c2' is no whole number from 0; leave it empty"),
        ("gallery,d.png,7,-1", "the camid '-1' is no whole number"),
        ("query,d.png,-1,2", "a query that is junk has no right answer"),
        ("gallery,d.png,7", "3 cells, where the first line has 4"),
        ("gallery,d.png,7,2,", "5 cells, where the first line has 4"),
    ],
)
def test_a_row_that_leaves_a_doubt_is_refused_with_its_line(tmp_path: Path, row: str, sentence: str) -> None:
    with pytest.raises(ReidError) as refused:
        truth.read(written(tmp_path, f"{FINE}{row}\n"))
    assert f"truth.csv:6: {sentence}" in str(refused.value)


def test_all_doubtful_rows_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(ReidError, match=r"mend these lines \(2 in all\)(?s:.*):6: (?s:.*):8: "):
        truth.read(written(tmp_path, FINE + "query,x.png,?,1\nquery,y.png,1,1\nquery,z.png,,1\n"))


@pytest.mark.parametrize(
    "text",
    ["", "\n", "a,b\n1,2\n", "subset,name,pid\nquery,q.png,1\n", "subset,name,pid,pid\nquery,q.png,1,1\n",
     FINE.replace(",", ";"), FINE.encode("utf-16"), HEADER + 'query,"q.png,1,1\n', bytes(range(256))],
    ids=["empty", "blank", "other columns", "a column less", "a column twice", "semicolons", "UTF-16",
         "open quotation", "binary"],
)  # fmt: skip
def test_another_table_is_refused(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(ReidError, match=r"truth\.csv: not a table of the truth: its first line must be"):
        truth.read(written(tmp_path, text))


def test_images_without_a_row_and_rows_without_an_image_are_refused(tmp_path: Path) -> None:
    known = truth.read(written(tmp_path, FINE))
    with pytest.raises(ReidError, match=r"no row for these gallery images \(1 in all\):\n  d.png"):
        known.of("gallery", ["a.png", "b.png", "c.png", "d.png"])
    with pytest.raises(ReidError, match=r"truth\.csv:4: there is no such gallery image: b\.png"):
        known.of("gallery", ["a.png", "c.png"])


@pytest.mark.timeout(10)
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, sentence in ((tmp_path / "pipe", "is a named pipe"), (tmp_path, "is a folder"),
                           (Path("/dev/zero"), "is a device")):  # fmt: skip
        with pytest.raises(ReidError, match=sentence):
            truth.read(path)
    with pytest.raises(ReidError, match="cannot be read: No such file"):
        truth.read(tmp_path / "absent")
