"""A walk that learns: how well it must rank, and what of its submission every processor must give.

A sign lost in the mirrored sum, or batch statistics at extraction, would pass tests that only compare runs.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from naic_reid.artifacts import Ranking
from tests.walk import Walk, tiny_world

GOLDEN = Path(__file__).parent / "golden" / "toy_submission.json"
CLEAR = 0.25
"""By so much of the distance the first must be ahead of the second for the golden file to name it."""


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Walk:
    raw = tiny_world()
    raw["toy"] |= {"train_identities": 24, "test_identities": 12, "images": 8}
    raw["train"] = raw["train"] | {"epochs": 8, "steps_per_epoch": None, "batch": 32}
    raw["ensemble"] = {"epochs": [8]}
    walk = Walk(tmp_path_factory.mktemp("learnt"), raw, warm)
    walk.run()
    return walk


def test_a_short_training_ranks_far_better_than_chance(learnt: Walk) -> None:
    scores = json.loads((learnt.folder / "results" / "evaluate" / "all.json").read_text())
    (plain,) = [e["scores"] for e in scores["entries"] if e["member"] == "fusion" and not e["reranked"]]
    assert plain["R1"] > 0.5 and plain["mAP"] > 0.4, plain  # by chance .08 and .13; .71 and .55 when written


def clear_firsts(walk: Walk) -> dict[str, str]:
    """Of each query the first gallery image, where the second is clearly farther."""
    ranking = Ranking.read(walk.folder / "results" / "fuse" / "all.npz")
    ahead = ranking.distances[:, 1] - ranking.distances[:, 0] > CLEAR * ranking.distances[:, 1]
    return {
        ranking.queries[query]: ranking.gallery[ranking.indices[query, 0]] for query in np.flatnonzero(ahead)
    }


def test_the_submission_is_that_of_earlier_versions_where_every_processor_must_agree(learnt: Walk) -> None:
    golden: dict[str, str] = json.loads(GOLDEN.read_text())
    submission = json.loads(learnt.submission)
    assert {query: submission[query][0] for query in golden} == golden
