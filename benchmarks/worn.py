"""E11: does it help to learn what persons wear? Drawn persons, whose attributes are known.

    python benchmarks/worn.py --models models [--seeds 0 1 2] [--data MyDataSet --truth TRUTH.csv]

Draws 32 persons to train on and 24 others to test, six cameras, two images by each, 64 × 32, in a folder
below `--models`; trains EfficientNet-Lite0 from its ImageNet weights for fifteen epochs (half a core-minute)
without attributes (which is what heads of weight 0 leave, to the bit), with them, and with those of another
person each (shuffled); and asks with the images of two cameras for those of the others, under Market's rule.
Beside mAP stand how many of the attributes the heads tell of test persons, and the ranking refined by what
they tell (`retrieval/attributes.py`), its weights learnt on the training persons: from all pairs, from pairs
alone that differ in what they wear (tri-attr-label), or by a margin that grows with it (tri-amargin); and
refined by what is true, the most that attributes can give. With `--data` and `--truth` the same networks are
asked for photographs, another domain, under NP of `partial.py`, nothing cut. Verdicts are those of
`partial.py`.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ablation import changed
from numpy.typing import NDArray
from partial_asking import Asked, Pictures, asked
from partial_judging import judged, told_of
from peer import CONFIG, ours

from naic_reid import Extractor, config
from naic_reid.artifacts import Floats, ImageList
from naic_reid.data import attributes
from naic_reid.data.toy import worn
from naic_reid.data.worlds import Shot, World
from naic_reid.retrieval import metrics
from naic_reid.retrieval.attributes import Refinement, differing, learnt
from naic_reid.retrieval.protocols import PROTOCOLS, Labels, meetings
from naic_reid.worn import Teller

TRAIN, TEST = range(32), range(100, 124)
CAMERAS, ASKED_BY = range(6), range(2)
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "true": {"table": "true.csv"},
    "shuffled": {"table": "shuffled.csv"},
}
"""`train.attributes` of each training."""
WORDS: dict[str, Any] = {"height": 64, "width": 32, "recipe": {"epochs": 15, "learning_rate": 1.5e-3}}
"""At a quarter of the pixels experiments.yaml's rate learns nothing: chosen by training losses."""


class Drawn(NamedTuple):
    """Images of some persons, N in all, ordered by path."""

    paths: tuple[str, ...]
    persons: NDArray[np.int64]
    cameras: NDArray[np.int64]


def drawn(folder: Path, role: str, persons: range) -> Drawn:
    """The images of these persons by every camera, made where they are missing."""
    world = World(folder, 11, 64, 32)
    shots = [Shot(role, who, camera, n) for who in persons for camera in CAMERAS for n in range(2)]
    paths = [f"{role}/{shot.person:04}_c{shot.camera}_{shot.number}.png" for shot in shots]
    for path, shot in zip(paths, shots, strict=True):
        if not (folder / path).exists():
            world.put(path, shot)
    who, where = (np.array([getattr(shot, of) for shot in shots]) for of in ("person", "camera"))
    return Drawn(tuple(paths), who, where)


def tables(folder: Path) -> dict[str, Path]:
    """What the training persons wear, and the same under other names."""
    world = World(folder, 11, 64, 32)
    wear = [worn(world.person(who)) for who in TRAIN]
    order = np.roll(np.arange(len(wear)), 7)
    given = {"true": wear, "shuffled": [wear[at] for at in order]}
    for kind, each in given.items():
        rows = [(f"{who:04}", words) for who, words in zip(TRAIN, each, strict=True)]
        attributes.told(rows).write(folder / f"{kind}.csv")
    return {kind: folder / f"{kind}.csv" for kind in given}


def train(folder: Path, images: Drawn, kind: str, seed: int) -> Path:
    """The checkpoint, trained where it is missing."""
    checkpoint = folder / f"{kind}_{seed}.pt"
    if checkpoint.exists():
        return checkpoint
    words = {**WORDS, "recipe": dict(WORDS["recipe"])}
    if KINDS[kind]:
        words["recipe"]["attributes"] = KINDS[kind]
    settings = config.load(CONFIG)
    model = changed(settings.models["lite_small"], words)
    listed = folder / "train.tsv"
    ImageList(images.paths, tuple(f"drawn/{who:04}" for who in images.persons)).write(listed)
    place = folder / "scratch" / kind
    place.mkdir(parents=True, exist_ok=True)
    ours(seed, settings.train, model, folder, listed, place).replace(checkpoint)
    return checkpoint


def scored(distances: Floats, images: Drawn) -> Asked:
    """Those of two cameras against those of the others."""
    asks = np.isin(images.cameras, ASKED_BY)
    rows = [np.flatnonzero(asks), np.flatnonzero(~asks)]
    labels = [
        Labels(images.persons[own], images.cameras[own], np.zeros(len(own), np.bool_), np.full(len(own), -1))
        for own in rows
    ]
    met = meetings(PROTOCOLS["market"], *labels)
    block = np.ascontiguousarray(distances[np.ix_(*rows)])
    found = metrics.hits(metrics.count(block, 0, metrics.positives_of(block, met), met), met)
    return Asked(found.precisions / found.positives, found.first, labels[0].identities)


def features(checkpoint: Path, folder: Path, images: Drawn) -> Floats:
    """Unit rows of the images."""
    return Extractor.load(checkpoint, "cpu").files([folder / path for path in images.paths]).values


def worn_by(folder: Path, images: Drawn, values: Mapping[str, Sequence[str]]) -> Floats:
    """What is true of the images, as heads tell it: float32 [N, Σ values], 1 for the value that it is."""
    world = World(folder, 11, 64, 32)
    wear = [worn(world.person(int(who))) for who in images.persons]
    return np.array(
        [[one[name] == word for name in values for word in values[name]] for one in wear], np.float32
    )


@dataclass
class Results:
    """Of each row of the table, by seed."""

    drawn: dict[str, list[Asked]] = field(default_factory=dict)
    photographs: dict[str, list[Asked]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def measure(
    found: Results,
    folder: Path,
    to_train: Drawn,
    to_test: Drawn,
    kind: str,
    seed: int,
    photos: Pictures | None,
) -> None:
    """Train, and ask."""
    checkpoint = train(folder, to_train, kind, seed)
    rows = features(checkpoint, folder, to_test)
    found.drawn.setdefault(kind, []).append(scored(1 - rows @ rows.T, to_test))
    if photos:
        seen = Extractor.load(checkpoint, "cpu").images(photos.pictures)
        found.photographs.setdefault(kind, []).append(asked(seen, seen, photos))
    if not KINDS[kind]:
        return
    teller = Teller.load(checkpoint, "cpu")
    probabilities = teller.files([folder / path for path in to_test.paths])
    found.notes.append(f"{kind}, seed {seed}: {_right(teller, probabilities, folder, to_test)}")
    if kind != "true":
        return
    own = features(checkpoint, folder, to_train)
    told = teller.files([folder / path for path in to_train.paths])
    truth = [worn_by(folder, images, teller.values) for images in (to_train, to_test)]
    label, margin = pairs(folder, to_train)
    for name, learning, testing, words in (
        ("by them", told, probabilities, {}), ("by them, by label", told, probabilities, label),
        ("by them, by margin", told, probabilities, margin), ("by the truth", *truth, {}),
    ):  # fmt: skip
        how = learnt(1 - own @ own.T, learning, to_train.persons, **words)
        refined = how.refined(1 - rows @ rows.T, testing, testing)
        found.drawn.setdefault(f"true, refined {name}", []).append(scored(refined, to_test))
        found.notes.append(f"refined {name}, seed {seed}: weights at most {_largest(how):.3f}")


def pairs(folder: Path, images: Drawn) -> tuple[dict[str, Any], dict[str, Any]]:
    """How weights are learnt by label, and by margin: .1 more where everything differs."""
    table = attributes.read(folder / "true.csv")
    apart = differing(table.of([f"{who:04}" for who in images.persons]))
    return {"counts": apart > 0}, {"margin": np.float32(0.1 * (1 + apart / len(table.values)))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="a folder, for drawn images and networks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path, help="photographs, and with --truth who is on them")
    parser.add_argument("--truth", type=Path, help="CSV: subset,name,pid,camid")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.models / "worn"
    to_train, to_test = drawn(folder, "train", TRAIN), drawn(folder, "test", TEST)
    tables(folder)
    photos = Pictures.of_truth(options.data, options.truth) if options.data and options.truth else None
    found = Results()
    for seed in options.seeds:
        for kind in KINDS:
            measure(found, folder, to_train, to_test, kind, seed, photos)
    print("\n".join(_table(found)))
    print("\n" + "\n".join(found.notes))


def _right(teller: Teller, rows: Floats, folder: Path, images: Drawn) -> str:
    """How many of what the test persons wear the heads tell, by attribute."""
    world = World(folder, 11, 64, 32)
    told = teller.most_likely(rows)
    wear = [worn(world.person(int(who))) for who in images.persons]
    shares = {
        name: 100 * np.mean([one[name] == other[name] for one, other in zip(told, wear, strict=True)])
        for name in teller.values
    }
    return ", ".join(f"{name} {share:.0f} %" for name, share in shares.items())


def _largest(how: Refinement) -> float:
    return float(max(np.abs(each).max() for each in (how.apart, how.both, how.squared)))


def _table(found: Results) -> list[str]:
    lines = ["| attributes | R1 / R3 / R5 / mAP | photographs |", "|---|---|---|"]
    for kind, each in found.drawn.items():
        photographs = found.photographs.get(kind)
        lines.append(f"| {kind} | {told_of(each)} | {told_of(photographs) if photographs else '–'} |")
    lines += ["", "| claim, mAP | by seed | 95 % of the mean | |", "|---|---|---|---|"]
    claims = (
        ("true at most 1 below none", "true", "none", -1.0),
        ("true above shuffled", "true", "shuffled", 0.0),
        ("refined above plain", "true, refined by them", "true", 0.0),
        ("refined by label above plain", "true, refined by them, by label", "true", 0.0),
        ("refined by margin above plain", "true, refined by them, by margin", "true", 0.0),
        ("refined by the truth above plain", "true, refined by the truth", "true", 0.0),
    )
    lines += [judged(text, found.drawn[one], found.drawn[other], least) for text, one, other, least in claims]
    if found.photographs:
        both = found.photographs["true"], found.photographs["none"]
        lines.append(judged("on photographs, true at most 1 below none", *both, -1.0))
    return lines


if __name__ == "__main__":
    main()
