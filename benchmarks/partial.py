"""Partial persons: parts of photographs ask for whole ones, under every way to show and compare them.

    python benchmarks/partial.py train --data MyDataSet --results results --models models [--seeds 0 1 2]
    python benchmarks/partial.py E1 E2 --data MyDataSet --truth TRUTH.csv --models models [--seeds 0 1 2]
    python benchmarks/partial.py E1 --data Market-1501-v15.09.15 --layout market1501 --models models
    python benchmarks/partial.py E1 --data Partial_REID --layout partial_reid --models models

The protocol NP: each of the truth's photographs in turn, cut by a rule (`crops.STRESS`), is the query; all
others, whole, are the gallery; images of its person by its own camera are left out. R1, R3, R5 and mAP in
percent. At y = 1, NP gives the hits of X223 (`x223.py`). With `--single-shot` (NP-1) a query's gallery is one
whole photograph of each person by another camera; ten draws. Of a data set with whole bodies (`--layout`)
the queries are cut and ask for its gallery under Market's rule; of one with partial queries (partial_reid,
partial_ilids, occluded_reid) these ask as they are, all-shot and, where the set has groups, group by group.

A row of a table is a point of four choices: which part of a picture training and test show, how it comes to
the input, what the network does with borders and scale, and how features are compared. Its value is the mean
over seeds. A claim is the difference of two rows on the same queries, its interval a bootstrap over persons.
"holds", or "the contrary holds": the seeds agree in sign and the interval of their mean excludes 0; else
"not shown". Of one seed nothing holds: "seen, one seed". Rows are told as far as their networks were trained.

`train` makes the networks that the experiments ask (`TRAININGS`: models of experiments.yaml with other
words), from the lists of a run of quick.yaml (`--results`), two to four core-minutes each.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from partial_asking import Pictures, Taken, add_test, pictures
from partial_experiments import EXPERIMENTS, of_networks
from partial_judging import GUARD_HEADER, guard_told, published, run
from partial_trainings import TRAININGS, train

from naic_reid.artifacts import ImageList
from naic_reid.data.augment import normalised
from naic_reid.data.crops import STRESS
from naic_reid.data.geometry import Geometry
from naic_reid.data.images import read
from naic_reid.losses.ratio import Ratio
from naic_reid.models.ratio import RatioPredictor, guarded


class Predictor(NamedTuple):
    """One of E7."""

    cut: int
    """Layer that it is cut after."""
    output: str
    form: str
    """Of its loss."""
    epochs: int = 4

    def __str__(self) -> str:
        longer = f", {self.epochs} epochs" if self.epochs != 4 else ""
        return f"layer {self.cut}, {self.output}, {self.form}{longer}"


_FORMS = ("direct", "relative", "relative_log")
_PREDICTORS = [
    *(Predictor(2, output, form) for output in ("exp", "linear") for form in _FORMS),
    *(Predictor(cut, "exp", "relative_log") for cut in (1, 3, 4)),
    *(
        Predictor(cut, "exp", form, 16)
        for cut, form in ((2, "direct"), (2, "relative_log"), (3, "relative_log"))
    ),
]


def ratios(data: Path, listed: Path, photographs: Pictures, seeds: Sequence[int]) -> Iterator[str]:
    """E7: predictors alone at 64 × 32, taught by the training list; what they tell of the test's pictures."""
    geometry = Geometry(64, 32)

    def inputs(pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        return normalised(torch.from_numpy(np.stack([geometry.fitted(picture) for picture in pictures])))

    shown = inputs([read(data / path) for path in ImageList.read(listed).paths])
    whole = inputs(photographs.pictures)
    shares = (0.5, 0.6, 0.7, 0.8, 0.9)
    parts = torch.cat([inputs(photographs.cut(f"legs_{share}")) for share in shares])
    changes = torch.tensor(shares).reciprocal().repeat_interleave(len(whole))
    yield from GUARD_HEADER
    for predictor in _PREDICTORS:
        for seed in seeds:
            predict = taught(shown, seed, predictor)
            told = [torch.cat([predict(some) for some in each.split(64)]) for each in (whole, parts)]
            yield guard_told(str(predictor), seed, guarded(*told, changes))


def taught(shown: torch.Tensor, seed: int, how: Predictor) -> Callable[..., torch.Tensor]:
    """A predictor after its epochs of all images, in evaluation mode."""
    torch.manual_seed(seed)
    predict, judge, batch = RatioPredictor(how.cut, how.output), Ratio(how.form), 32
    optimizer = torch.optim.Adam(predict.parameters(), lr=1e-3)
    whole_batches = len(shown) // batch * batch
    order = torch.cat([torch.randperm(len(shown))[:whole_batches] for _ in range(how.epochs)])
    for rows in order.split(batch):
        optimizer.zero_grad()
        judge(predict, shown[rows], None).backward()
        optimizer.step()
    predict.eval().requires_grad_(False)
    return predict


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="+", choices=["train", "E7", *EXPERIMENTS])
    add_test(parser)
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        help="train, E7, E10's PCA and layers: a run of quick.yaml",
    )
    parser.add_argument("--models", type=Path, required=True, help="NAME_SEED.pt and kept features")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--single-shot", action="store_true", help="NP-1: a drawn picture of each person")
    parser.add_argument("--lists", nargs="*", choices=list(STRESS), help="of an experiment's, these alone")
    parser.add_argument("--only", nargs="*", choices=list(TRAININGS), help="these networks alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "train" in options.what:
        folders = {"data": options.data, "results": options.results, "models": options.models}
        for checkpoint in train(options.only, options.seeds, **folders):
            print(checkpoint, flush=True)
    if "E7" in options.what:
        photographs = Pictures.of_truth(options.data, options.truth)
        listed = options.results / "holdout" / "train.tsv"
        print("\n## E7: ratios\n")
        for line in ratios(options.data, listed, photographs, options.seeds):
            print(line, flush=True)
    names = [name for name in options.what if name in EXPERIMENTS]
    if names:
        listed = options.results / "holdout" / "train.tsv"
        known = ImageList.read(listed) if options.truth and listed.exists() else None
        learnt = zip(known.paths, known.identities, strict=True) if known else ()
        of_whom = [(options.data / path, person) for path, person in learnt]
        taken = Taken(options.models, pictures(options), of_whom, single_shot=options.single_shot)
        for name in names:
            print(f"\n## {name}: {EXPERIMENTS[name].title}\n")
            experiment = of_networks(EXPERIMENTS[name], options.only or TRAININGS)
            own = taken.test.lists or experiment.lists
            lists = [test for test in own if test in (options.lists or own)]
            print("\n".join(run(experiment, lists, taken, options.seeds)), flush=True)
            print("\n".join(published(experiment.families)))


if __name__ == "__main__":
    main()
