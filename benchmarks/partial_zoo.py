"""Every published number of the notes on partial persons beside what was measured here, family by family.

    python benchmarks/partial_zoo.py --data MyDataSet --truth TRUTH.csv --models models > zoo.md
    python benchmarks/partial_zoo.py --data Partial_REID --layout partial_reid --models models

The networks are those of `partial.py train`. Published ones learned 751 persons of Market-1501 for hundreds
of epochs at 256 × 128; on the photographs (`--truth`) ours learned 48 persons for ten at 128 × 64, and upper
halves stand for Partial-REID: columns tell of directions and not of values. With `--layout` the test is the
published one, where it is.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from partial_asking import Pictures, Taken, add_test, pictures
from partial_experiments import Row
from partial_judging import reference, told_of

PADDED = {"geometry": "pad", "widen": 4 / 3}
SIZES = [(32, 16), (48, 24), (64, 32), (80, 40), (96, 48), (112, 56), (128, 64)]
WIDTHS = [(64, width) for width in (16, 24, 40, 48, 56, 64)]
HEIGHTS = [(height, 32) for height in (32, 48, 96, 112, 128)]
CUT = {
    "Market": "legs_1.0",
    "Market-head": "legs_25_55",
    "Market both 0–.5": "both_0_50",
    "Market both .15–.45": "both_15_45",
    "Market legs .15–.45": "legs_15_45",
    "Market legs .25–.55": "legs_25_55",
    **{f"Market y {y / 10:.1f}": f"legs_{y / 10:.1f}" for y in range(3, 11)},
}
"""Published test of whole bodies → the list of ours that stands for it."""
PARTIAL = {
    ("", "Partial-REID"): "legs_0.5",
    ("partial_reid", "Partial-REID"): "all_shot", ("partial_reid", "Partial-REID, groups"): "groups",
    ("partial_ilids", "Partial-iLIDS"): "all_shot",
    ("dukemtmc", "Duke"): "legs_1.0",
}  # fmt: skip
CROPS = ("stretched crops", "relu: stretched crops")
"""Of VPM's recipes in P14; ours with predicted scales has one branch, for regions keep the taps they have."""
WORN = {
    "attributes": "attributes",
    "bottleneck, attributes": "attributes_bottleneck",
    "attributes, drop": "attributes_drop",
    "attributes, norm": "attributes_norm",
    "attributes, norm×2": "attributes_norm_2",
    "256d": "attributes_256d",
    "256d, drop": "attributes_256d_drop",
    "1024d": "attributes_1024d",
    "128d, attributes": "attributes_128d",
    "128d, attributes, norm×2": "attributes_128d_norm_2",
    **{f"mlp{n}": f"attributes_mlp{n}" for n in (2, 3, 4)},
    "mlp2, 128d": "attributes_mlp2_128d",
}
"""Published row of P16 and P17 → the training of ours that stands for it."""


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
        ("P7", "baseline fine-tuned"): Row("plain_stretch"),
        ("P7", "affine"): Row("plain_stretch_predicted", predicted),
        ("P10", "VPM"): Row("visible_6"),
        ("P10", "whole"): Row("plain_whole"),
        ("P10", "whole, scale 2 1"): Row("plain_whole", at=lambda _: {"scale": (2.0, 1.0)}),
        ("P10", "scaled, predicted"): Row("plain_stretch_predicted", predicted),
        ("P14", "stretched crops"): Row("visible_6"),
        ("P14", "no crops"): Row("visible_6_whole"),
        ("P14", "one region: stretched crops"): Row("visible_1"),
        **{("P14", f"{told}, predicted scale"): Row("plain_stretch_predicted", predicted) for told in CROPS},
        **{
            ("P14", f"{told}, predicted scales down and across"): Row("plain_stretch_predicted_x", predicted)
            for told in CROPS
        },
        ("P15", "tri"): Row("tri_alone"),
        ("P15", "tri, ema .9"): Row("tri_.9"),
        ("P15", "tri-n, ema .99"): Row("tri_n_.99"),
        ("P15", "r-tri"): Row("r_tri_alone"),
        ("P15", "r-tri, ema .9"): Row("r_tri_.9"),
        ("P15", "r-tri, ema .99"): Row("r_tri_.99"),
        **{(family, "base"): Row("whole") for family in ("P16", "P17", "P18", "P19")},
        **{("P16", told): Row(model) for told, model in WORN.items() if "bottleneck" in told},
        **{("P17", told): Row(model) for told, model in WORN.items() if "bottleneck" not in told},
        ("P16", "attributes"): Row("attributes"),
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
    for height, width in (*SIZES, *WIDTHS, *HEIGHTS):
        name = f"size and taps {4 * height}×{4 * width}"
        found["P12", name] = Row("plain_whole", {"size": (height, width), "scale": "size"})
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
            lines += ["| published | on | R1 | R3 | R5 | mAP | ours | asked | R1 / R3 / R5 / mAP | seeds |"]
            lines += ["|---" * 10 + "|"]
        stands = STANDS.get((family, row["row"]))
        list_ = _list_for(row["set"], taken.test) if stands else ""
        able = taken.seeds(stands, seeds) if stands and list_ else []
        told = told_of([taken.scored(stands, list_, seed) for seed in able]) if stands and able else "–"
        theirs = [row["row"], *(row[key] or "–" for key in ("set", "R1", "R3", "R5", "mAP"))]
        mine = [str(stands or "–"), list_ or "–", told, " ".join(map(str, able)) or "–"]
        lines.append(f"| {' | '.join([*theirs, *mine])} |")
    return lines


def _list_for(published: str, test: Pictures) -> str:
    """The list of this test that stands for the one a number was published on; empty: none does."""
    return PARTIAL.get((test.kind, published)) or ("" if test.lists else CUT.get(published, ""))


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
