"""Shards of each step, gathered, are the file that one job makes, byte for byte."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from naic_reid.architecture import Architecture
from naic_reid.artifacts import ImageList, MadeBy
from naic_reid.config import Extract, Rerank, Search
from naic_reid.errors import ReidError
from naic_reid.losses import build_identity
from naic_reid.models import build
from naic_reid.models.weights import Checkpoint
from naic_reid.stages import extract, gather, rerank, search
from tests.stages.members import world

SHARDS = (1, 2, 3, 7)


def gathered(make: Callable[[Path, str], None], folder: Path, shards: int, *, like: Path) -> None:
    """The whole that this many shards make must have the bytes of the file that stands there."""
    made = [folder / f"{number}-{shards}.npz" for number in range(1, shards + 1)]
    for number, path in enumerate(made, 1):
        make(path, f"{number}/{shards}")
    gather.run(parts=made, whole=folder / "gathered.npz")
    assert (folder / "gathered.npz").read_bytes() == like.read_bytes()


@pytest.mark.parametrize("sizes", [(10, 60), (3, 2), (0, 5), (5, 0), (0, 0)])
def test_neighbours_and_jaccard_rows(tmp_path: Path, sizes: tuple[int, int]) -> None:
    made = world(tmp_path, {"green": sizes})
    query, gallery = made.paths("query", "green")[0], made.paths("gallery", "green")[0]
    near, jaccard = tmp_path / "near.npz", tmp_path / "jaccard.npz"

    def searched(path: Path, shard: str = "") -> None:
        search.run(Search(keep=20), query=query, gallery=gallery, neighbours=path, threads=2, shard=shard)

    def reranked(path: Path, shard: str = "") -> None:
        files = {"neighbours": near, "query": query, "gallery": gallery, "jaccard": path}
        rerank.run(Rerank(k1=8, k2=3), **files, threads=2, shard=shard)

    searched(near)
    reranked(jaccard)
    for shards in (*SHARDS, 23):
        gathered(searched, tmp_path, shards, like=near)
        gathered(reranked, tmp_path, shards, like=jaccard)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images, a list and a checkpoint."""
    folder = tmp_path_factory.mktemp("gather")
    rng = np.random.default_rng(1)
    paths = tuple(f"g/{number}.png" for number in range(5))
    (folder / "g").mkdir()
    for path in paths:
        cv2.imwrite(str(folder / path), rng.integers(0, 256, (40, 20, 3), np.uint8))
    ImageList(paths, ("",) * len(paths)).write(folder / "list.tsv")
    model = Architecture(backbone="resnet18", height=32, width=16)
    torch.manual_seed(1)
    classifier = build_identity("linear", 2, 512)
    Checkpoint.of(build(model), classifier, 1, ("a/1", "a/2"), model, MadeBy()).write(folder / "a.pt")
    return folder


def extracting(folder: Path, batch: int) -> Callable[[Path, str], None]:
    def make(path: Path, shard: str) -> None:
        places = {"data": folder, "images": [folder / "list.tsv"], "checkpoint": folder / "a.pt"}
        extract.run(Extract(), **places, features=[path], threads=1, batch=batch, shard=shard)

    return make


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_features(photographs: Path, tmp_path: Path, batch: int) -> None:
    make = extracting(photographs, batch)
    make(tmp_path / "one.npz", "")
    for shards in SHARDS:
        gathered(make, tmp_path, shards, like=tmp_path / "one.npz")


def test_features_made_in_other_batches_do_not_adjoin_and_are_refused(
    photographs: Path, tmp_path: Path
) -> None:
    extracting(photographs, 2)(tmp_path / "1.npz", "1/2")
    extracting(photographs, 3)(tmp_path / "2.npz", "2/2")
    with pytest.raises(
        ReidError, match=r"2\.npz: begins at row 3, and the part with row 2 is missing.*batch"
    ):
        gather.run(parts=[tmp_path / "1.npz", tmp_path / "2.npz"], whole=tmp_path / "whole.npz")


def test_a_part_of_another_list_is_refused_by_name(photographs: Path, tmp_path: Path) -> None:
    make = extracting(photographs, 2)
    for number in (1, 2):
        make(tmp_path / f"{number}.npz", f"{number}/2")
    (tmp_path / "other").mkdir()
    listed = ImageList.read(photographs / "list.tsv")
    ImageList(listed.paths[:4], listed.identities[:4]).write(tmp_path / "other" / "list.tsv")
    places = {"data": photographs, "checkpoint": photographs / "a.pt", "features": [tmp_path / "2.npz"]}
    extract.run(Extract(), images=[tmp_path / "other" / "list.tsv"], **places, batch=2, shard="2/2")
    with pytest.raises(
        ReidError, match=r"2\.npz: a part of something else than .*1\.npz is \(number of rows, in"
    ):
        gather.run(parts=[tmp_path / "1.npz", tmp_path / "2.npz"], whole=tmp_path / "whole.npz")


def test_an_engine_that_searches_in_one_piece_refuses_shards(tmp_path: Path) -> None:
    made = world(tmp_path, {"green": (3, 20)})
    query, gallery = made.paths("query", "green")[0], made.paths("gallery", "green")[0]
    places = {"query": query, "gallery": gallery, "neighbours": tmp_path / "n.npz"}
    with pytest.raises(ReidError, match="faiss-flat searches in one piece"):
        search.run(Search(engine="faiss-flat"), **places, shard="1/2")
