"""A network with visible regions through every stage and the tools that take its features, at tiny size."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from naic_reid import Extractor, cli, rank
from naic_reid.artifacts import Features, ImageList, JaccardRows, Neighbours, Ranking
from naic_reid.config import (
    Augment,
    Ensemble,
    Extract,
    Fuse,
    Loss,
    Model,
    QueryExpansion,
    Rerank,
    Schedule,
    Search,
    Train,
    load,
)  # fmt: skip
from naic_reid.data.augment import Recipe, draw
from naic_reid.data.batches import TrainingImages, TrainingList
from naic_reid.data.geometry import Geometry
from naic_reid.errors import ReidError
from naic_reid.retrieval.vectors import similarities
from naic_reid.stages import evaluate, extract, fuse, gather, query_expansion, rerank, search, train
from naic_reid.training import optimizers
from naic_reid.training.learner import Judgement
from naic_reid.training.state import State
from naic_reid.training.step import Batch, Plan, step
from tests.oracles import visible as oracle
from tests.tools import house
from tests.walk import HOME

REGIONS = 2
MODELS = {"a": Model(backbone="resnet18", height=64, width=32, regions=REGIONS)}
ENSEMBLE = Ensemble(epochs=(1,))
TRAIN = Train(
    epochs=1, batch=8, precision="fp32", optimizer="adam", learning_rate=1e-3,
    schedule=Schedule(warmup_epochs=0, milestones=()), augment=Augment(pad=2, crop_keep=(0.5, 1.0833)),
    identity_loss=Loss(name="linear"), metric_loss=Loss(name="visible_triplet", margin=1, weight=3),
)  # fmt: skip
RERANK = Rerank(k1=4, k2=2, lambda_=0.3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of four persons, a network trained on them, and their features as query and gallery."""
    folder = tmp_path_factory.mktemp("regions")
    names = house.photos(folder / "photos")
    persons = tuple(f"toy/{name[0]}" for name in names)
    ImageList(tuple(names), persons).write(folder / "images.tsv")
    for role, rows in (("query", slice(0, None, 3)), ("gallery", slice(1, None, 3))):
        ImageList(tuple(names[rows]), persons[rows]).write(folder / f"{role}.tsv")
    train.run(
        3, TRAIN, MODELS["a"], ENSEMBLE, data=folder / "photos", scratch=folder / "scratch",
        images=folder / "images.tsv", unlabelled=[], pretrained=[], attributes=[],
        checkpoints=[folder / "model.pt"],
        history=folder / "history.jsonl", threads=1, device="cpu",
    )  # fmt: skip
    lists = [folder / f"{role}.tsv" for role in ("query", "gallery")]
    _extract(folder, lists, [folder / f"{role}.npz" for role in ("query", "gallery")])
    return folder


def _extract(folder: Path, lists: list[Path], features: list[Path], shard: str = "") -> None:
    extract.run(
        Extract(), data=folder / "photos", images=lists, checkpoint=folder / "model.pt", features=features,
        device="cpu", threads=1, batch=2, shard=shard,
    )  # fmt: skip


def _dense(folder: Path) -> np.ndarray:
    def plainly(role: str) -> list[oracle.Image]:
        rows = Features.read(folder / f"{role}.npz").values.astype(np.float64)
        features = rows[:, :-REGIONS].reshape(len(rows), REGIONS, -1)
        return list(zip(features.tolist(), rows[:, -REGIONS:].tolist(), strict=True))

    return np.array([[oracle.distance(a, b) for b in plainly("gallery")] for a in plainly("query")])


def test_training_tells_of_its_losses(made: Path) -> None:
    lines = [json.loads(line) for line in (made / "history.jsonl").read_text().splitlines()]
    assert {"linear", "visible_triplet", "regions", "locator"} <= lines[0].keys() | lines[0].get(
        "losses", {}
    ).keys()


def test_batches_tell_what_part_of_each_picture_is_stretched(made: Path) -> None:
    source = TrainingImages(made / "photos", TrainingList(["0/0.png"] * 8, [0] * 8), Geometry(64, 32))
    order, crops = np.arange(8)[None], {"crop_keep": (0.5, 1.0), "crop_head": 0.5, "crop_keep_x": (0.5, 1.0)}
    found = [
        next(source.batches(order, Recipe(**words), 1, 0, own=own)).parts(torch.device("cpu"))
        for words, own in (
            (crops, slice(None)), (crops, slice(4, 8)), (crops | {"crop_then": "blank"}, slice(None)),
            ({}, slice(None)),
        )
    ]  # fmt: skip
    assert found[0] is not None and found[1] is not None and found[2:] == [None, None]
    drawn = draw(Recipe(**crops), 8, 64, 32, np.random.default_rng((1, 0, 1))).crop
    assert drawn is not None
    np.testing.assert_array_equal(found[0].numpy() * (64, 64, 32), drawn[:, [0, 2, 3]])
    np.testing.assert_array_equal(found[1], found[0][4:])


def test_micro_batches_take_their_own_parts_attacks_and_views_along() -> None:
    seen: list[dict[str, Any]] = []

    class Watched(torch.nn.Linear):
        def forward(self, images: torch.Tensor, _: object, **more: Any) -> Judgement:
            seen.append(more)
            return Judgement({"a": super().forward(images).sum()}, torch.ones(()))

    learner = Watched(1, 1)
    images, start = torch.rand(2, 4, 1)
    parts, views = torch.rand(4, 2), torch.rand(2, 2, 1)
    state = State(learner, optimizers.build("sgd", {"all": (list(learner.parameters()), 0.1)}, 0.0))
    batch = Batch(images, torch.arange(4), "abcd", start=start, parts=parts, views=views)
    step(state, batch, Plan({"a": 1.0}, 1, micro_batch=2, attack=torch.add))
    for number, more in enumerate(seen):
        some = slice(2 * number, 2 * number + 2)
        assert torch.equal(more["parts"], parts[some])
        assert torch.equal(more["attacked"], images[some] + start[some])
        assert [one.tolist() for one in more["views"]] == [[own.tolist()] for own in views[number]]
    assert len(seen) == 2


def test_search_reranking_fusion_and_scores_go_by_what_both_images_show(made: Path, tmp_path: Path) -> None:
    query, gallery = made / "query.npz", made / "gallery.npz"
    near, jaccard, ranking = (tmp_path / name for name in ("near.npz", "jaccard.npz", "ranking.npz"))
    search.run(Search(keep=8), query=query, gallery=gallery, neighbours=near, device="cpu")
    rerank.run(RERANK, neighbours=near, query=query, gallery=gallery, jaccard=jaccard)
    files = {"query": [query], "gallery": [gallery], "jaccard": [jaccard]}
    fuse.run(RERANK, MODELS, ENSEMBLE, Fuse(), **files, ranking=ranking, device="cpu")
    scores, heads = tmp_path / "scores.json", tmp_path / "heads.npz"
    evaluate.run(
        RERANK, MODELS, ENSEMBLE, Fuse(), 0, "market", query_list=made / "query.tsv",
        gallery_list=made / "gallery.tsv", multi_query_list=[made / "images.tsv"], others=[],
        other_queries=[],
        **files, multi_query=[_all(made, tmp_path)], ranking=ranking, truth=[], scores=scores, heads=heads,
        device="cpu",
    )  # fmt: skip
    dense = _dense(made)
    found = Neighbours.read(near)
    for row, others in enumerate(found.rows[:4]):
        for place, other in enumerate(others):
            if other >= 4:
                assert found.distances[row, place] == pytest.approx(dense[row, other - 4], abs=1e-5)
    similar = JaccardRows.read(jaccard)
    mixed = 0.7 * (1 - similar.similarity.toarray()) + 0.3 * dense / similar.farthest[:, None]
    np.testing.assert_allclose(Ranking.read(ranking).distances, np.sort(mixed, 1), atol=1e-5)
    entries = json.loads(scores.read_text())["entries"]
    firsts = np.argsort(np.argsort(dense, 1, kind="stable"), 1)
    assert entries[0]["hits"]["first"] == [int(firsts[q, q]) + 1 for q in range(4)]
    assert sum("multiple" in entry for entry in entries) == 4


def _all(made: Path, folder: Path) -> Path:
    _extract(made, [made / "images.tsv"], [folder / "all.npz"])
    return folder / "all.npz"


def test_parts_are_gathered_to_the_same_bytes(made: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"{number}.npz" for number in (1, 2)]
    for number, part in enumerate(parts, start=1):
        _extract(made, [made / "gallery.tsv"], [part], f"{number}/2")
    gather.run(parts=parts, whole=tmp_path / "whole.npz")
    assert (tmp_path / "whole.npz").read_bytes() == (made / "gallery.npz").read_bytes()


def test_query_expansion_keeps_the_masses(made: Path, tmp_path: Path) -> None:
    new = {role: tmp_path / f"{role}.npz" for role in ("query", "gallery")}
    query_expansion.run(
        QueryExpansion(k=2), query=made / "query.npz", gallery=made / "gallery.npz", new_query=new["query"],
        new_gallery=new["gallery"], device="cpu",
    )  # fmt: skip
    assert [Features.read(path).regions for path in new.values()] == [REGIONS] * 2


def test_a_saved_folder_and_the_commands_compare_alike(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Extractor.load(made / "model.pt", "cpu").save(tmp_path / "saved")
    extractor = Extractor.load(tmp_path / "saved", "cpu")
    found = extractor.folder(made / "photos")
    assert (extractor.regions, found.regions, extractor.dimension) == (
        REGIONS,
        REGIONS,
        512 * REGIONS + REGIONS,
    )
    near = similarities(found.values[:1], found.values, REGIONS)[0]
    order, distances = rank(found, found, 5, device="cpu")
    np.testing.assert_allclose(distances[0], np.sort(1 - near)[:5], atol=1e-6)
    asked = made / "photos" / found.names[0]
    for more in ([], ["--rerank", "--k1", "4", "--k2", "2"]):
        command = [
            "find",
            str(tmp_path / "saved"),
            str(asked),
            "--in",
            str(made / "photos"),
            "--device",
            "cpu",
        ]
        assert cli.main([*command, "--best", "5", "--cache", str(tmp_path / "cache"), *more]) == 0
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        for line in lines:
            assert float(line[2]) == pytest.approx(near[found.names.index(line[3])], abs=2e-4)
        if not more:
            assert [line[3] for line in lines] == [found.names[at] for at in order[0]]


def test_score_and_rank_take_masses_from_arrays(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for role in ("query", "gallery"):
        np.save(tmp_path / f"{role}.npy", np.asarray(Features.read(made / f"{role}.npz").values))
        (tmp_path / f"{role}.csv").write_text("identity\n0\n1\n2\n3\n")
    arrays = [str(tmp_path / f"{role}.npy") for role in ("query", "gallery")]
    lists = [f"--{role}-list={tmp_path / role}.csv" for role in ("query", "gallery")]
    words = ["--regions", str(REGIONS), "--device", "cpu"]
    assert cli.main(["score", *arrays, *lists, *words, "--json", str(tmp_path / "scores.json")]) == 0
    dense = _dense(made)
    expected = np.mean(dense.argmin(1) == np.arange(4))
    assert json.loads((tmp_path / "scores.json").read_text())["R1"] == expected
    out = ["--indices", str(tmp_path / "best.npy"), "--lambda", "1", "--k1", "4", "--norm", "none"]
    assert cli.main(["rank", *arrays, *words, *out]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "best.npy"), np.argsort(dense, 1, kind="stable"))
    assert "4 queries" in capsys.readouterr().out


def test_what_does_not_know_masses_refuses_them(made: Path, tmp_path: Path) -> None:
    files = {"query": made / "query.npz", "gallery": made / "gallery.npz"}
    with pytest.raises(ReidError, match=r"set search\.engine: exact"):
        search.run(Search(engine="faiss-flat"), **files, neighbours=tmp_path / "near.npz")
    plain = Features.read(files["gallery"])
    Features(plain.names, plain.values, plain.made_by).write(tmp_path / "plain.npz")
    with pytest.raises(ReidError, match="extract both with one model"):
        search.run(
            Search(), query=files["query"], gallery=tmp_path / "plain.npz", neighbours=tmp_path / "n.npz"
        )
    with pytest.raises(ReidError, match="keep all their numbers"):
        Extractor.load(made / "model.pt", "cpu", channels={"keep": 2})
    with pytest.raises(ReidError, match="one branch"):
        Extractor.load(made / "model.pt", "cpu", geometry="pad", border="masked")
    command = ["export", str(made / "model.pt"), "--onnx", str(tmp_path / "model.onnx")]
    assert cli.main(command) == 2
    assert not list(tmp_path.glob("*.onnx")) and not (tmp_path / "near.npz").exists()


@pytest.mark.parametrize(
    ("section", "words", "message"),
    [
        ("search", {"engine": "faiss-flat"}, r"search\.engine: faiss-flat.*set exact"),
        ("fuse", {"of": "features"}, r"fuse\.of: features.*set distances"),
        ("extract", {"channels": {"keep": 8}}, r"extract\.channels.*leave it out"),
        ("train", {"metric_loss": {"name": "hard_triplet"}}, "take it, or none"),
        ("train", {"more_losses": [{"name": "center"}]}, r"more_losses\[0\].*take it, or none"),
        ("train", {"metric_on": "feature"}, r"train\.metric_on of models\.lite_small.*set embedding"),
        ("train", {"augment": {"crop_keep": [0.5, 1], "crop_then": "blank"}}, "crop_then.*set stretch"),
        ("models", {"lite_small": {"regions": 0}}, "take another, or set regions"),
    ],
)
def test_a_config_that_contradicts_visible_regions_is_refused(
    tmp_path: Path, section: str, words: dict[str, object], message: str
) -> None:
    raw = yaml.safe_load((HOME / "benchmarks" / "experiments.yaml").read_text())
    raw["models"] = {"lite_small": raw["models"]["lite_small"] | {"regions": 3}}
    raw["train"]["metric_loss"] = {"name": "visible_triplet", "margin": 1.0}
    (tmp_path / "right.yaml").write_text(yaml.safe_dump(raw))
    assert load(tmp_path / "right.yaml").models["lite_small"].regions == 3
    if section == "models":
        raw["models"]["lite_small"] |= words["lite_small"]  # type: ignore[operator]
    else:
        raw.setdefault(section, {}).update(words)
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(ReidError, match=message):
        load(tmp_path / "wrong.yaml")
