"""How far colours alone get: HSV histograms of six stripes under the protocols of `x223.py`.

    python benchmarks/histogram.py --data MyDataSet --truth TRUTH.csv

A trained network that does not clearly beat this has learned nothing. A feature is the square roots
of six joint histograms (8 hues × 4 saturations × 4 values), one of each horizontal stripe.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from x223 import Truth, scores

STRIPES = 6
BINS = [8, 4, 4]


def feature(image: np.ndarray) -> np.ndarray:
    """Unit length, float32 [6 · 128], of an image uint8 [H, W, 3] in B, G, R order."""
    stripes = np.array_split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), STRIPES)
    counts = [cv2.calcHist([part], [0, 1, 2], None, BINS, [0, 180, 0, 256, 0, 256]) for part in stripes]
    shares = np.concatenate([count.ravel() / count.sum() for count in counts])
    return np.sqrt(shares / STRIPES).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds image_B_v1_1")
    parser.add_argument("--truth", type=Path, required=True, help="CSV: subset,name,pid,camid")
    options = parser.parse_args()
    truth = Truth.read(options.truth)
    rows = []
    for name, is_query in zip(truth.names, truth.is_query, strict=True):
        folder = options.data / "image_B_v1_1" / ("query" if is_query else "gallery")
        image = cv2.imread(str(folder / name))
        assert image is not None, folder / name
        rows.append(feature(image))
    found = scores([np.stack(rows)], [1.0], truth, None)
    print(f"{len(rows)} images, {truth.is_query.sum()} in the query folder; mAP in percent")
    print(f"pooled {found.pooled:.1f}   X223 R1 {found.rank1:.1f} mAP {found.x223:.1f}")


if __name__ == "__main__":
    main()
