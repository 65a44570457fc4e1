"""Files between the stages: cut, flipped, swapped, out of date, out of order."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from naic_reid import artifacts, lineage
from naic_reid.artifacts import Features, ImageList, JaccardRows, MadeBy, Neighbours, Ranking
from naic_reid.data.records import Records
from naic_reid.errors import ReidError
from naic_reid.models.weights import Checkpoint
from naic_reid.stages.survey import TEST_HEADER, TRAIN_HEADER
from tests.faults.case import Case
from tests.faults.world import Command, World

Read = Callable[[Path], Any]


def _table(kind: str, header: list[str]) -> Read:
    return lambda path: artifacts.read_table(path, kind, header)


# Each file that a stage reads: its reader, and the words that pick the command that reads it.
FILES: dict[str, tuple[Read, tuple[str, ...]]] = {
    "survey/train.tsv": (_table("TrainSurvey", TRAIN_HEADER), ("collect",)),
    "survey/test.tsv": (_table("TestSurvey", TEST_HEADER), ("split",)),
    "collect/images.tsv": (Records.read, ("dedupe",)),
    "dedupe/images.tsv": (ImageList.read, ("holdout",)),
    "holdout/train.tsv": (ImageList.read, ("train", "train/large")),
    "split/query_green.tsv": (ImageList.read, ("extract", "extract/large", "query_green")),
    "train/large/epoch_1.pt": (Checkpoint.read, ("extract", "extract/large", "query_green")),
    "extract/large/epoch_1/query_green.npz": (Features.read, ("search", "extract/large", "query_green")),
    "search/large/epoch_1/green.npz": (Neighbours.read, ("rerank", "large", "green")),
    "rerank/large/epoch_1/green.npz": (JaccardRows.read, ("fuse", "fuse/green")),
    "fuse/green.npz": (Ranking.read, ("submit",)),
    "evaluate/green.json": (lambda path: artifacts.read_json(path, "Scores"), ("card",)),
}


def _reader(name: str) -> Callable[[World], list[Command]]:
    return lambda world: [world.command(*FILES[name][1])]


def _cut(name: str) -> Callable[[World], None]:
    def plant(world: World) -> None:
        content = world.path(f"results/{name}").read_bytes()
        world.replace(f"results/{name}", content[: len(content) // 2])

    return plant


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _flip(name: str) -> Callable[[World], None]:
    def plant(world: World) -> None:
        path = world.path(f"results/{name}")
        content = path.read_bytes()
        place = len(content) // 2
        if zipfile.is_zipfile(path):  # not between two members, where nothing is
            with zipfile.ZipFile(path) as archive:
                largest = max(archive.infolist(), key=lambda member: member.file_size)
            place = largest.header_offset + 300
        elif path.suffix == ".json":  # not in the last digit of a number, which may mean the same
            place = content.index(b'"checksum"') + 14
        world.replace(f"results/{name}", flipped(content, 8 * place + 1))

    return plant


def _revised(name: str) -> Callable[[World], None]:
    """The file as an older revision of its stage would have made it."""

    def plant(world: World) -> None:
        path = world.path(f"results/{name}")
        made_by = lineage.record(path)
        assert made_by is not None
        read = FILES[name][0](path)
        if isinstance(read, Features):
            read = Features(read.names, np.array(read.values), read.made_by)  # no longer mapped from the file
        path.unlink()
        old = replace(made_by, revision=0)
        if not isinstance(read, tuple):
            replace(read, made_by=old).write(path)
        elif path.suffix == ".json":
            artifacts.write_json(path, "Scores", old, read[1])
        else:
            header = TRAIN_HEADER if "train" in name else TEST_HEADER
            kind = "TrainSurvey" if "train" in name else "TestSurvey"
            artifacts.write_table(path, kind, old, header, ["\t".join(row) for row in read[1]])

    return plant


class Others:
    """Another run, made when the first case asks for one of its files."""

    world: World | None = None

    @classmethod
    def content(cls, near: World, name: str) -> bytes:
        if cls.world is None or not cls.world.folder.exists():
            import tempfile

            place = Path(tempfile.mkdtemp(prefix="other"))
            commands = [
                [word.replace('"seed":1234', '"seed":4321') for word in command] for command in near.commands
            ]
            cls.world = World(place / "walk", commands)
            cls.world.folder.mkdir()
            for command in commands:
                status, printed = cls.world.run(command)
                assert status == 0, printed
        return cls.world.path(f"results/{name}").read_bytes()

    @classmethod
    def forget(cls) -> None:
        if cls.world is not None:
            import shutil

            shutil.rmtree(cls.world.folder.parent)
            cls.world = None


def _swapped(name: str) -> Callable[[World], None]:
    return lambda world: world.replace(f"results/{name}", Others.content(world, name)) and None


def _turned(world: World, name: str) -> None:
    """Features whose images stand in another order."""
    path = world.path(name)
    read = Features.read(path)
    turned = Features(read.names[::-1], np.array(read.values[::-1]), read.made_by)
    path.unlink()
    turned.write(path)


SMALL = "results/extract/small/epoch_1/query_green.npz"


def _other_order(world: World) -> None:
    _turned(world, SMALL)


def _other_order_all_along(world: World) -> None:
    """The small model's chain of an extraction that listed its queries in another order."""
    _turned(world, SMALL)
    for stage in ("search", "rerank"):
        world.path(f"results/{stage}/small/epoch_1/green.npz").unlink()
        status, printed = world.run(world.command(stage, "small", "green"))
        assert status == 0, printed


def _fuse(world: World) -> list[Command]:
    return [world.command("fuse", "fuse/green")]


def _fuse_swapped(world: World) -> list[Command]:
    """The members' files in the order of another config."""
    return [
        [word.replace("large/", "@").replace("small/", "large/").replace("@", "small/") for word in command]
        for command in _fuse(world)
    ]


def _crossed(world: World) -> list[Command]:
    """Queries of one network against the gallery of another."""
    command = world.command("search", "extract/large", "query_green")
    return [
        [word.replace("extract/large/epoch_1/gallery", "extract/small/epoch_1/gallery") for word in command]
    ]


def _foreign_rows(world: World) -> list[Command]:
    """One member's Jaccard rows with another member's features."""
    command = _fuse(world)[0]
    return [[word.replace("rerank/large", "rerank/small") for word in command]]


def _foreign_neighbours(world: World) -> list[Command]:
    command = world.command("rerank", "large", "green")
    return [[word.replace("search/large", "search/small") for word in command]]


def _other_lists(world: World) -> list[Command]:
    """A submission for the queries of one domain, with another domain's ranking."""
    command = world.command("submit")
    return [[word.replace("fuse/green", "fuse/normal") for word in command]]


def _damaged_cache(world: World) -> None:
    world.path("scratch").mkdir(exist_ok=True)
    world.path("scratch/collect.sqlite").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)


def _trained(world: World) -> None:
    status, printed = world.run([*world.command("train", "train/large"), "--save-seconds", "0"])
    assert status == 0, printed
    for name in ("epoch_1.pt", "history.jsonl"):
        world.path(f"results/train/large/{name}").unlink()


def _damaged_scratch(world: World) -> None:
    """A finished run whose kept checkpoint is damaged before it is handed over again."""
    _trained(world)
    for path in world.path("scratch/train").glob("*/epoch_1.pt"):
        path.write_bytes(flipped(path.read_bytes(), path.stat().st_size * 4 + 1))


def _damaged_state(world: World) -> None:
    """A run cut off, whose saved state is damaged."""
    _trained(world)
    for path in world.path("scratch/train").glob("*/state.pt"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        (path.parent / "finished").unlink()


def _cases() -> list[Case]:
    found = []
    for name in FILES:
        short = f"`{name}`"
        broken = rf"results/{name}: not a whole .*(run|train|make it) again"
        found += [
            Case("Artefacts", f"{short} cut in half", _cut(name), _reader(name), says=broken),
            Case("Artefacts", f"{short} with a flipped bit", _flip(name), _reader(name), says=broken),
            Case("Artefacts", f"{short} of an older revision", _revised(name), _reader(name),
                 says=rf"results/{name}: made by revision 0 of .*delete it and run again"),
        ]  # fmt: skip
        if not name.startswith("survey"):
            found.append(
                Case("Artefacts", f"{short} of another run", _swapped(name), _reader(name),
                     says=rf"results/{name}: was made from another results/.*delete it and run again")
            )  # fmt: skip
    return found


CASES = [
    *_cases(),
    Case("Artefacts", "survey of another run's lists", _swapped("survey/train.tsv"),
         _reader("survey/train.tsv"), says="changed since the survey: run survey again"),
    Case("Artefacts", "survey of another run's test images", _swapped("survey/test.tsv"),
         _reader("survey/test.tsv"), says="unusable test images.*another size than surveyed"),
    Case("Artefacts", "query order of one member changed", _other_order, _fuse,
         says="small/epoch_1/green.npz: was made from another .*query_green.npz"),
    Case("Artefacts", "query order of one member changed, its chain made anew", _other_order_all_along,
         _fuse, says="query_green.npz: its images are not those of the first member"),
    Case("Artefacts", "two members' files exchanged", lambda world: None, _fuse_swapped,
         says="features of timm/test_resnet at .* where those of models.large, epoch 1, belong"),
    Case("Artefacts", "queries of one network, gallery of another", lambda world: None, _crossed,
         says="gallery_green.npz: was not extracted as .*query_green.npz was"),
    Case("Artefacts", "neighbours found in another member's features", lambda world: None,
         _foreign_neighbours, says="search/small/.*green.npz: was not made from results/extract/large"),
    Case("Artefacts", "Jaccard rows of another member's features", lambda world: None, _foreign_rows,
         says="rerank/small/.*green.npz: was not made from results/extract/large"),
    Case("Artefacts", "one domain's ranking twice", lambda world: None, _other_lists,
         says="stands in two rankings"),
    Case("Artefacts", "cache of images damaged", _damaged_cache, lambda world: [world.command("collect")],
         0, note="goes on: the cache is made anew"),
    Case("Artefacts", "kept checkpoint of a finished run damaged", _damaged_scratch,
         lambda world: [world.command("train", "train/large")], says="not a whole .* again"),
    Case("Artefacts", "saved state of a cut-off run damaged", _damaged_state,
         lambda world: [world.command("train", "train/large")],
         says=r"state.pt: not a whole state of training; delete .* to begin anew"),
]  # fmt: skip


def flip_bits(world: World, folder: Path, number: int, seed: int) -> int:
    """Flip single bits of every kind of artefact, one at a time; how many were tried.

    Each flip is refused by a sentence that names the file, or changes nothing that is read: a zip's dates
    and attributes carry no meaning.
    """
    rng = np.random.default_rng(seed)
    for name, (read, _) in FILES.items():
        content = world.path(f"results/{name}").read_bytes()
        path = folder / Path(name).name
        whole = _plain(read(world.path(f"results/{name}")))
        for bit in rng.integers(0, 8 * len(content), number).tolist():
            path.write_bytes(flipped(content, bit))
            try:
                found = _plain(read(path))
            except ReidError as error:
                assert str(path) in str(error), (name, bit, error)  # noqa: PT017 (either outcome is right)
            else:
                assert found == whole, (name, bit)
    return number * len(FILES)


def _plain(value: Any) -> Any:
    """An artefact as values that can be compared."""
    if isinstance(value, MadeBy):
        return value.to_json()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if hasattr(value, "numpy"):
        return value.numpy().tobytes()
    if hasattr(value, "toarray"):
        return value.toarray().tobytes()
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if hasattr(value, "__dict__"):
        return {key: _plain(one) for key, one in vars(value).items() if key != "name"}
    return json.dumps(value)
