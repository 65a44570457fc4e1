"""Every published number of the notes on partial persons beside what was measured here, family by family.

    python benchmarks/partial_zoo.py --data MyDataSet --truth TRUTH.csv --models models > zoo.md
    python benchmarks/partial_zoo.py --data Partial_REID --layout partial_reid --models models

The networks are those of `partial.py train`. Published ones learned 751 persons of Market-1501 for hundreds
of epochs at 256 × 128; on the photographs (`--truth`) ours learned 48 persons for ten at 128 × 64, and upper
halves stand for Partial-REID: columns tell of directions and not of values. With `--layout` the test is the
published one, where it is.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from partial import Pictures, Row, Taken, add_test, pictures, reference, told_of

PADDED = {"geometry": "pad", "widen": 4 / 3}
SIZES = [(32, 16), (48, 24), (64, 32), (80, 40), (96, 48), (112, 56), (128, 64)]


def _stands() -> dict[tuple[str, str], Row]:
    """(family, published row) → the row of ours that makes the same four choices."""
    predicted = {"scale": "predicted"}
    found = {
        ("P1", "resize"): Row("whole"),
        ("P4", "baseline, resize"): Row("plain_whole"),
        ("P4", "baseline with the same augmentation, resize"): Row("plain_stretch"),
        ("P5", "whole-trained, crop"): Row("plain_whole", {"geometry": "crop", "widen": 1.0}),
        ("P5", "pad-trained, pad"): Row("plain_blank", {"geometry": "pad", "widen": 1.0}),
        ("P5", "plain, stretched crops"): Row("plain_stretch"),
        ("P5", "affine, stretched crops, 4*16"): Row("plain_stretch_predicted", predicted),
        ("P5", "plain, no augmentation"): Row("plain_whole"),
        ("P10", "VPM"): Row("visible_6"),
        ("P10", "whole"): Row("plain_whole"),
        ("P10", "whole, scale 2 1"): Row("plain_whole", at=lambda _: {"scale": (2.0, 1.0)}),
        ("P10", "scaled, predicted"): Row("plain_stretch_predicted", predicted),
        ("P14", "stretched crops"): Row("visible_6"),
        ("P14", "no crops"): Row("visible_6_whole"),
        ("P15", "tri"): Row("tri_alone"),
        ("P15", "tri, ema .9"): Row("tri_.9"),
        ("P15", "tri-n, ema .99"): Row("tri_n_.99"),
        ("P15", "r-tri"): Row("r_tri_alone"),
        ("P15", "r-tri, ema .9"): Row("r_tri_.9"),
        ("P15", "r-tri, ema .99"): Row("r_tri_.99"),
        ("P19", "base"): Row("whole"),
    }
    for policy in ("crop", "pad"):
        for told, f in (("", 1.0), (", widen 1.5", 1.5)):
            found["P1", policy + told] = Row("whole", {"geometry": policy, "widen": f})
    for crops, model in (("", "plain_whole"), ("blank crops, ", "plain_blank")):
        for border, words in (("", {}), ("blank border, ", {"border": "blank"})):
            for policy in ("crop", "pad"):
                name = f"{border}{crops}" or "base, "
                fitted = {"geometry": policy, "widen": 4 / 3, **words}
                found["P2", f"{name}{policy}"] = Row(model, fitted)
        masked = {**PADDED, "border": "masked"}
        for name, fitted in (("masked", masked), ("pad", PADDED)):
            found["P3", f"{crops or 'base, '}{name}"] = Row(model, fitted)
    for height, width in SIZES:
        size = f"{4 * height}×{4 * width}"  # ours learned at a quarter of the notes' size
        found["P13", f"size {size}"] = Row("plain_whole", {"size": (height, width)})
        found["P12", f"size and taps {size}"] = Row("plain_whole", {"size": (height, width), "scale": "size"})
    for keep, theirs in ((640, 1024), (320, 512), (160, 256)):  # halves, quarters and eighths
        for by in ("every", "mean")[: 1 if theirs == 1024 else 2]:  # no mean of 1024 was published
            found["P19", f"{by} {theirs}"] = Row("whole", {"channels": {"keep": keep, "by": by}})
    return found


STANDS = _stands()


def zoo(taken: Taken, seeds: Sequence[int]) -> list[str]:
    """Every published row beside the row of ours that stands for it, by family."""
    lines: list[str] = []
    family = ""
    for row in reference():
        if family != row["family"]:
            family = row["family"]
            lines += ["", f"## {family}", ""]
            lines += ["| published | on | R1 | R5 | mAP | ours | asked | R1 / R3 / R5 / mAP | seeds |"]
            lines += ["|---" * 9 + "|"]
        stands = STANDS.get((family, row["row"]))
        list_ = _list_for(row["set"], taken.test) if stands else ""
        able = taken.seeds(stands, seeds) if stands and list_ else []
        told = told_of([taken.scored(stands, list_, seed) for seed in able]) if stands and able else "–"
        theirs = [row["row"], *(row[key] or "–" for key in ("set", "R1", "R5", "mAP"))]
        mine = [str(stands or "–"), list_ or "–", told, " ".join(map(str, able)) or "–"]
        lines.append(f"| {' | '.join([*theirs, *mine])} |")
    return lines


def _list_for(published: str, test: Pictures) -> str:
    """The list of this test that stands for the one a number was published on; empty: none does."""
    if test.lists:
        names = {"partial_reid": "Partial-REID", "partial_ilids": "Partial-iLIDS"}
        return "all_shot" if published == names.get(test.kind) else ""
    market = re.fullmatch(r"Market(?: y ([0-9.]+))?", published)
    if market:
        return f"legs_{market[1] or '1.0'}"
    return "legs_0.5" if published == "Partial-REID" and not test.kind else ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_test(parser)
    parser.add_argument("--models", type=Path, required=True, help="NAME_SEED.pt and kept features")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(zoo(Taken(options.models, pictures(options)), options.seeds)))


if __name__ == "__main__":
    main()
