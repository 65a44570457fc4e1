"""Label lists that cannot be used, or only in part."""

from collections.abc import Callable

from naic_reid.artifacts import read_table
from naic_reid.stages.dedupe import DROPPED_HEADER
from tests.faults.case import Case
from tests.faults.images import training
from tests.faults.world import DATA, Command, World

LIST = DATA / "train_2020_cs" / "train_list.txt"
BAD = r"the label lists have lines that cannot be used.*train_list.txt:"
SURVEYED = "replaced: survey/train.tsv"
AND_DEDUPED = (
    "replaced: collect/images.tsv, dedupe/counts.tsv, dedupe/dropped.tsv, dedupe/images.tsv, survey/train.tsv"
)


def _with(change: Callable[[bytes], bytes]) -> Callable[[World], None]:
    def plant(world: World) -> None:
        world.replace(LIST, change(world.path(LIST).read_bytes()))

    return plant


def _gone(world: World) -> None:
    world.path(LIST).unlink()


def _second_name(content: bytes) -> bytes:
    """The first image once more, under another of the list's identities."""
    lines = content.split(b"\n")
    separator = b":" if b":" in lines[0] else b" "
    name, _, label = lines[0].strip().rpartition(separator)
    return name + separator + str(int(label) + 100_000).encode() + b"\n" + content


def _cleaned(world: World) -> list[Command]:
    return [*training(world), world.command("dedupe")]


def _only_collect(world: World) -> list[Command]:
    return [world.command("collect")]


def _reasons(reason: str) -> Callable[[World], None]:
    def check(world: World) -> None:
        _, rows = read_table(world.path("results/dedupe/dropped.tsv"), "Dropped", DROPPED_HEADER)
        assert any(row[3] == reason for row in rows), rows

    return check


def _line(name: str, line: bytes, says: str) -> Case:
    return Case(
        "Lists", name, _with(lambda content: line + b"\n" + content), training, says=BAD + says,
        leaves=SURVEYED,
    )  # fmt: skip


CASES = [
    Case("Lists", "no such file", _gone, training, says="no such label list"),
    Case("Lists", "empty", _with(lambda _: b""), training, says="the list holds no lines", leaves=SURVEYED),
    Case("Lists", "binary", _with(lambda _: bytes(range(256)) * 20), training, says=BAD, leaves=SURVEYED),
    Case("Lists", "UTF-16", _with(lambda c: c.decode().encode("utf-16")), training, says="UTF-16",
         leaves=SURVEYED),
    _line("wrong separator", b"a.png;3", "1: no separator"),
    _line("missing image", b"nowhere.png:3", "1: no such image"),
    _line("path traversal", b"../../etc/passwd:3", "1: the path leaves the source's folder"),
    _line("absolute path", b"/etc/passwd:3", "1: an absolute path"),
    _line("a line of 10 MB", b"a" * 10_000_000 + b":3", "1: a line of 10,000,002 bytes"),
    _line("mixed encodings", b"b\xe4r.png:3", "1: not UTF-8"),
    _line("a label that is no integer", b"a.png:x7", "1: the label 'x7' is no whole number"),
    Case("Lists", "a line twice", _with(lambda c: c.split(b"\n")[0] + b"\n" + c), _cleaned, 0,
         leaves=AND_DEDUPED, note="goes on; `dropped.tsv`: repeated line", check=_reasons("repeated line")),
    Case("Lists", "one image under two identities", _with(_second_name), _cleaned, 0,
         leaves=AND_DEDUPED, note="goes on without it; `dropped.tsv`: two identities",
         check=_reasons("two identities")),
    Case("Lists", "edited after the survey", _with(lambda c: c + b"\n"), _only_collect,
         says="changed since the survey: run survey again"),
]  # fmt: skip
