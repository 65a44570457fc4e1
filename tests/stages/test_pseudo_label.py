"""The pseudo_label stage: the longer list, the table for audit, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from naic_reid.artifacts import Features, ImageList, MadeBy, canonical, read_table
from naic_reid.config import Ensemble, Model, PseudoLabel, Split
from naic_reid.errors import ReidError
from naic_reid.stages import pseudo_label

MODELS = {"one": Model(backbone="resnet18", height=32, width=16)}
DIRECTIONS = np.eye(4, dtype=np.float32)


def _near(person: int, away: float) -> list[float]:
    """A unit row at this angle from a person's direction."""
    row = np.cos(away) * DIRECTIONS[person] + np.sin(away) * DIRECTIONS[3]
    return [float(value) for value in row]


GREEN = (
    {"q/a.png": _near(0, 0), "q/b.png": _near(1, 0), "q/c.png": _near(0, 0.25)},
    {"g/1.png": _near(0, 0.1), "g/2.png": _near(1, 0.29), "g/3.png": _near(1, 0.31), "g/4.png": _near(2, 0)},
)
NORMAL = ({"q/z.png": _near(2, 0)}, {"g/9.png": _near(2, 0.2)})


def _run(folder: Path, setting: PseudoLabel, domains: tuple[str, ...] = ("green", "normal")) -> None:
    ImageList(("t/1.png", "t/2.png"), ("x/1", "x/1")).write(folder / "train.tsv")
    world = {"green": GREEN, "normal": NORMAL}
    for domain in domains:
        for role, rows in zip(("query", "gallery"), world[domain], strict=True):
            paths = tuple(rows)
            ImageList(paths, ("",) * len(paths)).write(folder / f"{role}_{domain}.tsv")
            names = tuple(path.rpartition("/")[2] for path in paths)
            Features(names, np.array(list(rows.values()), np.float32)).write(folder / f"{role}_{domain}.npz")

    def of(role: str, suffix: str) -> list[Path]:
        return [folder / f"{role}_{domain}.{suffix}" for domain in domains]

    pseudo_label.run(
        MODELS, Ensemble(epochs=(1,)), Split(), setting, train=folder / "train.tsv",
        query_lists=of("query", "tsv"), gallery_lists=of("gallery", "tsv"), query=of("query", "npz"),
        gallery=of("gallery", "npz"), images=folder / "images.tsv", pairs=folder / "pairs.tsv", threads=1,
    )  # fmt: skip


def _listed(folder: Path) -> dict[str, str]:
    images = ImageList.read(folder / "images.tsv")
    return dict(zip(images.paths, images.identities, strict=True))


def test_mutual_pairs_of_all_domains_join_the_list_and_near_queries_are_one_person(tmp_path: Path) -> None:
    _run(tmp_path, PseudoLabel())
    assert _listed(tmp_path) == {
        "t/1.png": "x/1", "t/2.png": "x/1",
        "q/a.png": "pseudo/q/a.png", "q/c.png": "pseudo/q/a.png", "g/1.png": "pseudo/q/a.png",
        "q/b.png": "pseudo/q/b.png", "g/2.png": "pseudo/q/b.png",
        "q/z.png": "pseudo/q/z.png", "g/9.png": "pseudo/q/z.png",
    }  # fmt: skip


def test_the_originals_rule_takes_one_domain_and_makes_two_persons_of_two_queries(tmp_path: Path) -> None:
    _run(tmp_path, PseudoLabel(rule="nearest", max_queries=1, domains=("green",)), ("green",))
    assert {path: who for path, who in _listed(tmp_path).items() if who != "x/1"} == {
        "q/a.png": "pseudo/q/a.png", "g/1.png": "pseudo/q/a.png",
        "q/b.png": "pseudo/q/b.png", "g/2.png": "pseudo/q/b.png",
    }  # fmt: skip


def test_the_table_says_for_whom_each_image_was_taken_and_how_near_it_was(tmp_path: Path) -> None:
    _run(tmp_path, PseudoLabel())
    made_by, rows = read_table(tmp_path / "pairs.tsv", "PseudoLabels", pseudo_label.PAIRS_HEADER)
    assert made_by.stage == "pseudo_label"
    assert [row[:3] for row in rows] == [
        ["pseudo/q/a.png", "q/a.png", "q/a.png"],
        ["pseudo/q/a.png", "q/c.png", "q/c.png"],
        ["pseudo/q/a.png", "q/a.png", "g/1.png"],
        ["pseudo/q/b.png", "q/b.png", "q/b.png"],
        ["pseudo/q/b.png", "q/b.png", "g/2.png"],
        ["pseudo/q/z.png", "q/z.png", "q/z.png"],
        ["pseudo/q/z.png", "q/z.png", "g/9.png"],
    ]
    assert [float(row[3]) for row in rows] == pytest.approx([0, 0, 0.1, 0, 0.29, 0, 0.2], abs=1e-5)


def test_nothing_near_enough_leaves_the_list_as_it_was(tmp_path: Path) -> None:
    _run(tmp_path, PseudoLabel(threshold=0.01))
    assert _listed(tmp_path) == {"t/1.png": "x/1", "t/2.png": "x/1"}


def test_files_of_other_domains_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReidError, match="2 domains of 1 members, but 1 query"):
        _run(tmp_path, PseudoLabel(), ("green",))


def test_features_of_a_network_without_its_stripes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = MadeBy("query_expansion", settings=canonical({"epoch": 1, "model": MODELS["one"].model_dump()}))
    read = Features.read
    monkeypatch.setattr(Features, "read", lambda path: replace(read(path), made_by=record))
    _run(tmp_path, PseudoLabel())
    monkeypatch.setitem(MODELS, "one", MODELS["one"].model_copy(update={"stripes": 6}))
    with pytest.raises(
        ReidError, match=r"query_green\.npz: features of resnet18 .* models\.one, epoch 1, belong"
    ):
        _run(tmp_path, PseudoLabel())


def test_features_of_a_network_of_another_time_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS["one"].model_dump() | {"backbone": "timm/test_resnet", "last_stride": 1}
    record = MadeBy("extract", settings=canonical({"epoch": 1, "model": model}))
    read = Features.read
    monkeypatch.setattr(Features, "read", lambda path: replace(read(path), made_by=record))
    with pytest.raises(
        ReidError, match=r"query_green\.npz: of a network that is not built any more \(.*last_stride"
    ):
        _run(tmp_path, PseudoLabel())


def test_features_of_other_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(tmp_path, PseudoLabel())
    write = Features.write

    def renamed(self: Features, path: Path) -> None:
        write(replace(self, names=tuple(f"else/{name}" for name in self.names)), path)

    monkeypatch.setattr(Features, "write", renamed)
    with pytest.raises(ReidError, match=r"query_green\.npz: its images are not those of the list"):
        _run(tmp_path, PseudoLabel())
