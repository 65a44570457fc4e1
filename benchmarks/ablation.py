"""What single words of a short recipe are worth: one network, trained anew with each word changed.

    python benchmarks/ablation.py [CHANGE ...] --data MyDataSet --truth TRUTH.csv --results results

`--results` is a finished run of configs/quick.yaml on the data: its lists are read, its networks are not. A
CHANGE is what differs in the entry of `models`, as YAML: `{pooling: average}`, or
`{recipe: {weight_decay: 5.0e-4}}`; without any, the table of docs/log/2026-11.md is made. Scores are those of
`x223.py`, without re-ranking, means over `--seeds`. The default model takes two core-minutes each time.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from peer import CONFIG, MODEL, features_of_ours, ours
from x223 import Scores, Truth, domains_of, scores

from naic_reid import config

TABLE = (
    "{}",
    "{recipe: {learning_rate: 1.0e-3}}",
    "{recipe: {learning_rate: 1.0e-3, head_learning_rate: 5.0e-3}}",
    "{recipe: {weight_decay: 5.0e-4}}",
    "{recipe: {metric_loss: null}}",
    "{recipe: {metric_loss: {name: hard_triplet, weight: 1.0, margin: 0.3}}}",
    "{recipe: {augment: {erasing: 0.5}}}",
    "{recipe: {augment: {brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0}}}",
    "{recipe: {schedule: {kind: multistep, milestones: [6, 8]}}}",
    "{recipe: {optimizer: ranger}}",
    "{pooling: average}",
    "{standardise: true}",
    "{pretrained: null}",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("changes", metavar="CHANGE", nargs="*", default=TABLE)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True, help="CSV: subset,name,pid,camid")
    parser.add_argument("--results", type=Path, default=Path("results"), help="of a run of quick.yaml")
    parser.add_argument("--model", default=MODEL, help="of experiments.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    torch.set_num_threads(1)
    truth = Truth.read(options.truth)
    settings = config.load(CONFIG)
    lie_in = domains_of(options.results, truth, settings.split.domains)
    print("| change | split | pooled | X223 R1 | X223 | X223, seed by seed |\n|---|---|---|---|---|---|")
    for change in options.changes:
        model = changed(settings.models[options.model], yaml.safe_load(change))
        found = []
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as place:
                listed = options.results / "holdout" / "train.tsv"
                checkpoint = ours(seed, settings.train, model, options.data, listed, Path(place))
                rows = features_of_ours(checkpoint, options.data, truth, Path(place))
            found.append(scores([rows], [1.0], truth, None, lie_in))
        mean = " | ".join(f"{value:.1f}" for value in Scores(*np.mean(found, axis=0)))
        each = ", ".join(f"{one.x223:.1f}" for one in found)
        print(f"| `{change}` | {mean} | {each} |", flush=True)


def changed(model: config.Model, words: dict[str, Any]) -> config.Model:
    """The model with other words; those in `recipe` are added to its own."""
    recipe = {**model.recipe, **words.pop("recipe", {})}
    raw = model.model_dump(by_alias=True) | words | {"recipe": recipe}
    changed: config.Model = config.typed({"model": config.Model}, {"model": raw}, "CHANGE")["model"]
    return changed


if __name__ == "__main__":
    main()
