"""What is fuzzed, each a function of bytes that ends well or with `ReidError` (a room's `ValueError`).

Random bytes seldom pass a checksum, so some targets put one around them: what lies behind the checksum has
to stand anything too.
"""

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np

from naic_reid import artifacts, config, lineage, parts
from naic_reid.artifacts import Features, ImageList, JaccardRows, MadeBy, Neighbours, Ranking, submission
from naic_reid.artifacts.json_files import checksum_of
from naic_reid.data import images, label_lists
from naic_reid.data.labelled import Labelled
from naic_reid.data.layouts import Row
from naic_reid.data.records import Records
from naic_reid.errors import ReidError

PLACE = Path(tempfile.mkdtemp(prefix="fuzz"))
TABLES = (ImageList, Records, Labelled)
ARRAYS = (Features, Neighbours, JaccardRows, Ranking)
MEMBERS = {
    Features: ("names", "values"),
    Neighbours: ("rows", "distances", "farthest", "num_query"),
    JaccardRows: ("data", "indices", "indptr", "shape", "farthest"),
    Ranking: ("queries", "gallery", "indices", "distances"),
}


def label_list(data: bytes) -> None:
    entries, problems = label_lists.parse(data, "list.txt")
    for entry in entries:
        assert not label_lists.unplain(entry.name)
        assert int(entry.label) >= 0
    assert entries or problems
    assert all(problem.startswith("list.txt:") and problem.isprintable() for problem in problems)


def settings(data: bytes) -> None:
    config.parse(data.decode(errors="replace"), "config.yaml")


def image(data: bytes) -> None:
    with suppress(ValueError):
        pixels = images.checked(data)
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
        assert np.array_equal(images.decode(data), pixels)


def answers(data: bytes) -> None:
    submission.problems(submission.read(_file("submission.json", data)), [(["q.png"], ["g.png"])])


def any_file(data: bytes) -> None:
    """Every reader on the bytes as they are."""
    for suffix, kinds in ((".tsv", TABLES), (".npz", ARRAYS)):
        path = _file(f"x{suffix}", data)
        for kind in kinds:
            with suppress(ReidError):
                kind.read(path)
        with suppress(ReidError):
            lineage.record(path)
    for suffix in (".pt", ".json"):
        with suppress(ReidError):
            lineage.record(_file(f"x{suffix}", data))
    with suppress(ReidError):
        artifacts.read_json(_file("x.json", data), "Scores")


def table(data: bytes) -> None:
    """Bytes behind a right checksum."""
    for kind in TABLES:
        checksum = blake2b(data, digest_size=16).hexdigest()
        path = _file("x.tsv", f"# {kind.__name__} {checksum} ".encode() + data)
        with suppress(ReidError):
            kind.read(path)


def arrays(data: bytes) -> None:
    """Bytes as members of an archive with right checksums; the first says of which type."""
    kind = ARRAYS[data[0] % len(ARRAYS)] if data else Features
    kind.read(_archive(data[1:], MEMBERS[kind], type=kind.__name__))


def part(data: bytes) -> None:
    """The same as the only part of a whole."""
    kind = ARRAYS[data[0] % 3] if data else Features
    whole = PLACE / "whole.npz"
    parts.gather([_archive(data[1:], ("part", *MEMBERS[kind]), type="Part", kind=kind.__name__)], whole)


def _archive(data: bytes, names: tuple[str, ...], **texts: str) -> Path:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, text in {**texts, "made_by": MadeBy().to_json()}.items():
            archive.writestr(f"{name}.npy", _npy(np.array(text)))
        for name, content in zip(names, data.split(b"\x93NUMPY")[1:], strict=False):
            archive.writestr(f"{name}.npy", b"\x93NUMPY" + content)
    return _file("x.npz", held.getvalue())


def values(data: bytes) -> None:
    """A JSON object behind a right checksum."""
    try:
        content = {"type": "Scores", **json.loads(data)}
        text = json.dumps(content | {"checksum": checksum_of(content)})
        text.encode()
    except (ValueError, TypeError, RecursionError):
        return  # no JSON object to begin with
    artifacts.read_json(_file("x.json", text.encode()), "Scores")


TARGETS: tuple[Callable[[bytes], None], ...] = (
    label_list, settings, image, answers, any_file, table, arrays, part, values
)  # fmt: skip


def one(data: bytes) -> None:
    """One execution: the first byte picks the target."""
    if not data:
        return
    with suppress(ReidError):
        TARGETS[data[0] % len(TARGETS)](data[1:])


def seeds() -> Iterator[bytes]:
    """A sound input for each target."""
    made: dict[Callable[[bytes], None], list[bytes]] = {
        label_list: [b"a/b.png:12\r\nc d.jpg 7\n\xef\xbb\xbf"],
        settings: [b"seed: 1\ntrain: {learning_rate: 1.0e-3}\nmodels:\n  a: {height: 64}\n"],
        image: [_picture(".png"), _picture(".jpg")],
        answers: [b'{"q.png": ["g.png"]}'],
    }
    made_by = MadeBy("split", 1, "1", "{}", (("a", "00"),))
    ImageList(("a.png", "b.png"), ("s/1", ""), made_by).write(PLACE / "list.tsv")
    Records.of([("a.png", "s/1", 1, "00", "11", "", "", "16 8")], made_by).write(PLACE / "records.tsv")
    row = Row("a.png", "query", "m/0002", "m/1", "3", "junk")
    Labelled((row,), (7,), made_by).write(PLACE / "labels.tsv")
    unit = np.eye(2, 3, dtype=np.float32)
    Features(("a", "b"), unit, made_by).write(PLACE / "features.npz")
    rows = np.array([[0, 1], [1, 0]], np.int32)
    Neighbours(rows, unit[:, 1:][:, ::-1] * 0, unit[:, 0], 1, made_by).write(PLACE / "neighbours.npz")
    Ranking(("q", "r"), ("a", "b"), rows, rows * np.float32(0), made_by).write(PLACE / "ranking.npz")
    artifacts.write_json(PLACE / "scores.json", "Scores", made_by, {"entries": [1.5]})
    files = [*sorted(PLACE.glob("*s.*")), PLACE / "list.tsv", PLACE / "ranking.npz"]
    one_value = (unit[0, :1], rows[0, :1], np.array([0, 1, 1]), np.array([2, 2]), unit[:, 0])
    made[any_file] = [path.read_bytes() for path in files]
    made[table] = [path.read_bytes().split(b" ", 3)[3] for path in files if path.suffix == ".tsv"]
    made[values] = [b'{"entries": [1.5], "made_by": {"stage": "x"}}']
    made[arrays] = [
        bytes([0]) + _npy(np.array(["a", "b"])) + _npy(unit),
        bytes([1]) + b"".join(map(_npy, (rows, 0 * unit[:, :2], unit[:, 0], np.array(1)))),
        bytes([2]) + b"".join(map(_npy, one_value)),
        bytes([3]) + b"".join(map(_npy, (np.array(["q"]), np.array(["a", "b"]), rows[:1], 0 * unit[:1, :2]))),
    ]  # fmt: skip
    rows_of_two = _npy(np.array([0, 2, 2]))
    made[part] = [seed[:1] + rows_of_two + seed[1:] for seed in made[arrays][:3]]
    for number, target in enumerate(TARGETS):
        for content in made[target]:
            yield bytes([number]) + content


def _file(name: str, content: bytes) -> Path:
    path = PLACE / name
    path.write_bytes(content)
    return path


def _npy(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    held = io.BytesIO()
    np.lib.format.write_array(held, array, allow_pickle=False)
    return held.getvalue()


def _picture(suffix: str) -> bytes:
    done, content = cv2.imencode(suffix, np.arange(16 * 8 * 3, dtype=np.uint8).reshape(16, 8, 3))
    assert done
    return content.tobytes()
