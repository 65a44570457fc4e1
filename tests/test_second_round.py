"""The walk with pseudo-labels: every model is trained twice, the second time on a longer list."""

from pathlib import Path

from naic_reid.artifacts import ImageList, read_table
from naic_reid.models.weights import Checkpoint
from naic_reid.stages.pseudo_label import PAIRS_HEADER
from tests.walk import Walk, tiny_world


def test_with_pseudo_labels_a_second_round_trains_on_what_the_first_is_sure_of(
    tmp_path: Path, warm: Path
) -> None:
    raw = tiny_world() | {"query_expansion": {"k": 2, "alpha": 3.0}}
    once = Walk(tmp_path / "once", raw).would_run()
    # Networks that have learnt nothing find everything near: the rule that asks least takes all of it.
    raw["pseudo_label"] = {"rule": "nearest", "threshold": 1.4, "max_queries": 1}
    walk = Walk(tmp_path / "twice", raw, warm)
    assert walk.would_run() == once | {
        "train": 2, "extract": 2, "query_expansion": 2 * once["query_expansion"], "pseudo_label": 1,
    }  # fmt: skip
    walk.run()

    results = walk.folder / "results"
    longer = ImageList.read(results / "pseudo_label" / "images.tsv")
    known = ImageList.read(results / "holdout" / "train.tsv")
    _, pairs = read_table(results / "pseudo_label" / "pairs.tsv", "PseudoLabels", PAIRS_HEADER)
    assert len(longer) == len(known) + len(pairs) > len(known)
    (first,) = results.glob("train/first/*/epoch_2.pt")
    (second,) = results.glob("train/*/epoch_2.pt")
    assert Checkpoint.read(first).identities == tuple(sorted(set(known.identities)))
    assert Checkpoint.read(second).identities == tuple(sorted(set(longer.identities)))
    assert walk.would_run() == {}

    del raw["pseudo_label"]
    walk.write(raw)
    after = ("train", "query_expansion", "search", "rerank", "fuse", "submit", "evaluate", "card")
    assert walk.would_run() == {rule: once[rule] for rule in after if rule in once} | {"extract": 1}
