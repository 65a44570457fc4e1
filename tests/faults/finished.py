"""What may become of a finished folder, and what a run of it says and leaves."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.case import Outcome, difference
from tests.finished import NAMED, Folder, given, unfinished
from tests.walk import HOME

GROUP = "Finished folders"
NOTHING = "Nothing to be done"
SEALED = ("submission.json", "submission.record.json", "card/card.txt", "card/card.json")


@dataclass(frozen=True)
class Story:
    """A row of the table: what becomes of a folder, and what comes of the next run of it."""

    name: str
    plant: Callable[[Folder], None]
    says: str
    """Matches what the table shows of the output."""
    status: int = 0
    happens: str = "goes on: made again, the same bytes"
    more: tuple[str, ...] = ()
    """For Snakemake."""
    fresh: bool = False
    """Nothing has run in the folder before."""
    leaves: str = "nothing changed"
    """What a run that makes nothing leaves under results/."""

    def tried(self, folder: Folder, finished: Folder) -> Outcome:
        """Spoil a copy of the finished folder and run it; asserts what is promised."""
        self.plant(folder)
        before = folder.state("results")
        printed = folder.run(*self.more, status=self.status)
        found = re.search(self.says, printed, re.M)
        assert found, (self.name, printed)
        left = difference(before, folder.state("results"))
        if self.status or self.more:
            assert left == self.leaves, (self.name, left)
            assert NAMED not in printed
        else:
            for name in SEALED:
                assert (folder.results / name).read_bytes() == (finished.results / name).read_bytes(), name
            assert NOTHING in folder.run()
        happens = f"nothing starts ({self.status})" if self.status else self.happens
        own = re.compile(rf"({re.escape(str(folder.place.parent))}|{re.escape(str(HOME))})/")
        shown = own.sub("…/", found[0]).replace(f"{folder.given}/", "…/")
        return Outcome(happens, shown, left)


def _model(folder: Folder) -> dict[str, Any]:
    model: dict[str, Any] = next(iter(folder.raw["models"].values()))
    return model


def _with(change: Callable[[Folder], Any]) -> Callable[[Folder], None]:
    def plant(folder: Folder) -> None:
        change(folder)
        folder.write(folder.raw)

    return plant


def _cut(folder: Folder) -> None:
    path = folder.results / "submission.json"
    path.write_bytes(path.read_bytes()[:500])


def _linked(target: str) -> Callable[[Folder], None]:
    def plant(folder: Folder) -> None:
        (folder.place / "foreign.txt").write_text("not ours")
        (folder.results / "submission.json").unlink()
        (folder.results / "submission.json").symlink_to(target)

    return plant


def _edited_record(folder: Folder) -> None:
    path = folder.results / "submission.record.json"
    path.write_text(path.read_text().replace('"revision"', '"Revision"', 1))


def _better_card(folder: Folder) -> None:
    path = folder.results / "card/card.txt"
    path.write_text(re.sub(r"\d+\.\d", "99.9", path.read_text()))


def _replaced_photograph(folder: Folder) -> None:
    data = folder.own_data()
    rows = [line.split("\t") for line in (folder.results / "holdout/train.tsv").read_text().splitlines()[2:]]
    content = (data / rows[0][0]).read_bytes()
    (data / rows[1][0]).unlink()
    (data / rows[1][0]).write_bytes(content)


def _touched_photograph(folder: Folder) -> None:
    data = folder.own_data()
    path = data / (folder.results / "holdout/train.tsv").read_text().splitlines()[2].split("\t")[0]
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def _shorter_list(folder: Folder) -> None:
    label_list = folder.own_data() / "train_2020_fs/train_list.txt"
    lines = label_list.read_text().splitlines(keepends=True)
    label_list.unlink()
    label_list.write_text("".join(lines[:-1]))


def _in_the_way(folder: Folder) -> None:
    (folder.place / "logs").write_text("")
    (folder.results / "fuse").mkdir(parents=True)
    os.mkfifo(folder.results / "fuse/green.npz")


def _braces(folder: Folder) -> None:
    (folder.place.parent / "a{y}b").symlink_to(folder.given)
    folder.truth = folder.place.parent / "a{y}b/truth.csv"


def _fewer_neighbours(folder: Folder) -> None:
    folder.raw["rerank"]["green"]["k1"] -= 1


STORIES = [
    Story("the config names weights that are nowhere", _with(lambda f: _model(f).update(pretrained="no.pth")),
          r"models.large.pretrained: no.pth is missing.*", 2),
    Story("the config names a list of wrong labels that is nowhere",
          _with(lambda f: f.raw["dedupe"].update(wrong_labels="no.txt")),
          r"dedupe.wrong_labels: \S+no.txt is missing.*", 2),
    Story("a model is called by 24 equal letters",
          _with(lambda f: f.raw.update(models={"a" * 24: _model(f)})),
          r"models.a+: repeats itself too often.*", 2),
    Story("braces in the path of the truth", _braces, r"\S+truth.csv: braces in the path.*", 2, fresh=True),
    Story("a file for the folder `logs`, a named pipe for an artefact", _in_the_way,
          r"results/fuse/green.npz: is no file: move it away\n *logs: is a file, and a folder .*", 2,
          fresh=True),
    Story("a batch of more identities than the lists name", _with(lambda f: f.raw["train"].update(batch=512)),
          r"models.large: train.batch 512 is \d+ identities of .*", 2, fresh=True,
          leaves="written: survey/test.tsv, survey/train.tsv"),
    Story("the submission is cut", _cut, r"\S+submission.json: was cut, replaced or edited since.* again"),
    Story("the submission is a link to another file", _linked("../foreign.txt"),
          r"\S+submission.json: is a link to \S+foreign.txt, which no step made.* again"),
    Story("the submission is a link to itself", _linked("submission.json"),
          r"\S+submission.json: is a link to submission.json.* again"),
    Story("the submission's record is edited", _edited_record, r"\S+record.json: was cut or edited.* again"),
    Story("the card is edited", _better_card, r"\S+card.txt: was cut, replaced or edited since.* again"),
    Story("a setting is another, and a dry run is asked for", _with(_fewer_neighbours),
          r"rerank.green.k1: \d+ → \d+: runs rerank again", happens="says what would run", more=("-n",)),
    Story("a training photograph is another, and a dry run is asked for", _replaced_photograph,
          r"1 images are not what collect read .*", happens="says what would run", more=("-n",)),
    Story("a label list is shorter, and a dry run is asked for", _shorter_list, r"collect +1$",
          happens="says what would run", more=("-n",)),
    Story("a photograph has another date and the same bytes", _touched_photograph, NOTHING,
          happens="goes on: equal contents rerun nothing"),
]  # fmt: skip


def told(pattern: str) -> Iterator[tuple[str, Outcome]]:
    """The stories whose `group: name` matches, tried on a folder of their own."""
    asked = [story for story in STORIES if re.search(pattern, f"{GROUP}: {story.name}")]
    if not asked:
        return
    with tempfile.TemporaryDirectory(prefix="finished") as name:
        home = Path(name)
        (home / "given").mkdir()
        data = given(home / "given")
        whole = unfinished(home / "walk", data)
        whole.run()
        for number, story in enumerate(asked):
            (home / str(number)).mkdir()
            place = home / str(number) / "walk"
            folder = unfinished(place, data) if story.fresh else whole.copied(place)
            yield story.name, story.tried(folder, whole)
