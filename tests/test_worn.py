"""From a table of attributes to what a model tells of pictures; where nobody asks for it, nothing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from naic_reid import cli, config, preflight
from naic_reid.artifacts import ImageList
from naic_reid.config import Ensemble, Model, Train
from naic_reid.data import images, worlds
from naic_reid.errors import ReidError
from naic_reid.extractor import Extractor
from naic_reid.models.weights import Checkpoint
from naic_reid.stages import train
from naic_reid.worn import Teller
from tests.walk import HOME

HOME_OF_ALL = "Market-1501-v15.09.15"
WORDS = {"table": f"{HOME_OF_ALL}/attributes.csv", "head": "bottleneck", "weight": 0.5}
RECIPE = {"epochs": 1, "batch": 12, "precision": "fp32", "schedule": {"warmup_epochs": 0, "milestones": []}}


def learnt(folder: Path, name: str, scratch: Path | None = None, **words: object) -> Path:
    """A checkpoint of one epoch on the drawn Market-1501."""
    settings = Train(**RECIPE, **words)  # type: ignore[arg-type]
    table = [folder / settings.attributes.table] if settings.attributes else []
    train.run(
        7, settings, Model(backbone="resnet18", height=32, width=16), Ensemble(epochs=(1,)), data=folder,
        scratch=scratch or folder / "scratch", images=folder / "train.tsv", unlabelled=[], pretrained=[],
        attributes=table,
        checkpoints=[folder / f"{name}.pt"], history=folder / f"{name}.jsonl", threads=1, device="cpu",
    )  # fmt: skip
    return folder / f"{name}.pt"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worn")
    worlds.drawn("market1501", folder, height=32, width=16)
    home = folder / HOME_OF_ALL
    paths = sorted(path.relative_to(folder) for path in (home / "bounding_box_train").glob("*.jpg"))
    identities = tuple(f"market/{path.name[:4]}" for path in paths)
    ImageList(tuple(map(str, paths)), identities).write(folder / "train.tsv")
    learnt(folder, "worn", attributes=WORDS)
    return folder


def test_a_checkpoint_keeps_the_heads_and_the_history_their_loss(place: Path) -> None:
    kept = Checkpoint.read(place / "worn.pt")
    assert kept.attributes is not None and kept.attributes.head == "bottleneck"
    with (place / WORDS["table"]).open() as handle:
        rows = list(csv.DictReader(handle))
    told = {name: tuple(sorted({row[name] for row in rows})) for name in rows[0] if name != "person"}
    assert kept.attributes.values == told and len(rows) == len({*worlds.TRAIN, *worlds.TEST})
    first = json.loads((place / "worn.jsonl").read_text().splitlines()[0])
    terms = first["arcface"] + first["weighted_triplet"] + 0.5 * first["attributes"]
    assert first["loss"] == pytest.approx(terms, rel=1e-5)


def test_a_model_tells_what_its_heads_say_of_the_feature(place: Path) -> None:
    pictures = [images.read(place / path) for path in ImageList.read(place / "train.tsv").paths[:3]]
    teller = Teller.load(place / "worn.pt", "cpu", flip=True)
    rows = teller.images(pictures)
    kept = Checkpoint.read(place / "worn.pt")
    assert kept.attributes is not None
    seen = []
    network = kept.embedder()
    for picture in pictures:
        inputs = (torch.from_numpy(picture) / 255 - torch.tensor((0.485, 0.456, 0.406))) / torch.tensor(
            (0.229, 0.224, 0.225)
        )
        both = torch.stack([inputs, inputs.flip(1)]).permute(0, 3, 1, 2)
        with torch.no_grad():
            seen.append(network(both)["whole"].feature.mean(0))
    heads = kept.attributes.heads(512)
    with torch.no_grad():
        expected = torch.cat([logits.softmax(1) for logits in heads(torch.stack(seen))], 1)
    np.testing.assert_allclose(rows, expected.numpy(), atol=1e-4)
    assert [*teller.most_likely(rows)[0]] == [*teller.values]
    same = Teller.load(place / "worn.pt", "cpu", flip=True, scales=(1.0, 1.001))  # both see 32 x 16 pixels
    np.testing.assert_allclose(same.images(pictures), rows, atol=1e-3)
    Extractor.load(place / "worn.pt", "cpu").save(place / "saved")
    again = Teller.load(place / "saved", "cpu")
    assert np.array_equal(again.images(pictures), rows) and again.values == teller.values


def test_each_attribute_has_its_likeliest_value(place: Path) -> None:
    teller = Teller.load(place / "worn.pt", "cpu")
    columns = [(name, word) for name, words in teller.values.items() for word in words]
    for chosen in (min, max):
        expected = {name: chosen(words) for name, words in teller.values.items()}
        row = np.float32([[0.9 if expected[name] == word else 0.1 for name, word in columns]])
        assert teller.most_likely(row) == [expected]


def test_embed_writes_what_is_worn(place: Path, tmp_path: Path) -> None:
    query = place / HOME_OF_ALL / "query"
    out = tmp_path / "worn.csv"
    assert cli.main(["embed", str(place / "worn.pt"), str(query), "--attributes", str(out)]) == 0
    with out.open() as handle:
        rows = list(csv.DictReader(handle))
    teller = Teller.load(place / "worn.pt")
    expected = teller.most_likely(teller.files([query / row["image"] for row in rows]))
    assert [{**worn} for worn in expected] == [
        {name: row[name] for name in teller.values} for row in rows
    ] and len(rows) == len(list(query.glob("*.jpg")))


def test_where_nobody_asks_nothing_is_kept_nor_recorded(place: Path) -> None:
    plain = learnt(place, "plain")
    kept = Checkpoint.read(plain)
    assert kept.attributes is None and "attributes" not in kept.made_by.settings
    content = torch.load(plain, weights_only=True)
    assert "attributes" not in content and "attributes" not in content["record"]
    weightless = Checkpoint.read(learnt(place, "weightless", attributes=WORDS | {"weight": 0})).embedder()
    for name, tensor in kept.embedder().state_dict().items():
        assert torch.equal(tensor, weightless.state_dict()[name]), name
    with pytest.raises(ReidError, match=r"plain\.pt: tells nothing of what persons wear"):
        Teller.load(plain, "cpu")


def test_another_table_is_another_run(place: Path) -> None:
    table = place / "changed.csv"
    table.write_bytes((place / WORDS["table"]).read_bytes())
    for number in range(2):
        learnt(place, "changed", attributes={"table": table.name}, scratch=place / "changed")
        assert len(list((place / "changed/train").iterdir())) == 1 + number
        table.write_text(table.read_text().rpartition("\n")[0].rpartition("\n")[0])


def test_a_table_of_other_persons_is_refused(place: Path) -> None:
    (place / "others.csv").write_text("person,hat\n9999,no\n")
    with pytest.raises(ReidError, match=r"others\.csv: knows none of the 6 persons, such as market/0002"):
        learnt(place, "others", attributes={"table": "others.csv"})


def test_a_config_that_names_no_table_is_refused_before_anything_runs(tmp_path: Path) -> None:
    raw = config.load(HOME / "configs" / "quick.yaml")
    asking = raw.train.model_copy(update={"attributes": config.Attributes(table="none.csv")})
    name, model = next(iter(raw.models.items()))
    own = {name: model.model_copy(update={"recipe": {"attributes": {"table": "none.csv"}}})}
    for settings in (raw.model_copy(update={"train": asking}), raw.model_copy(update={"models": own})):
        with pytest.raises(
            ReidError, match=rf"train\.attributes of models\.{name}: .*none\.csv is missing: name a table"
        ):
            preflight.given(settings, [], HOME, tmp_path, tmp_path, fetch=False)
    with pytest.raises(ValueError, match=r"'\.\./worn\.csv' leaves the data folder"):
        config.Attributes(table="../worn.csv")
    toy = (HOME / "configs" / "toy.yaml").read_text()
    for table, message in (("truth.csv", "call it attributes.csv"), ("a/b.csv", "toy writes"), ("a.csv", "")):
        (tmp_path / "toy.yaml").write_text(
            toy.replace("\ntrain:", f"\ntrain:\n  attributes: {{table: {table}}}")
        )
        if message:
            with pytest.raises(ReidError, match=message):
                config.load(tmp_path / "toy.yaml")
        else:  # the run makes it, so it need not be there before
            preflight.given(config.load(tmp_path / "toy.yaml"), [], HOME, tmp_path, tmp_path, fetch=False)
