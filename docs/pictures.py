"""Makes the tutorial's pictures: `python docs/pictures.py RUN OTHER`, two finished runs on drawn people.

naic-reid run --config toy --into RUN        and once more with a changed config --into OTHER
python docs/pictures.py RUN OTHER            wants Chromium
"""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2

from naic_reid import cli

PLACE = Path(__file__).parent / "pictures"
FEW = "<style>.wide ~ .wide, .wide ~ h3 { display: none }</style>"  # one table of a comparison
ONLY = "<style>nav, footer, main > section:not(#{}) {{ display: none }} header {{ display: none }}</style>"


def shot(page: Path, name: str, height: int, style: str = "") -> None:
    """A picture of a page, 1,000 pixels wide."""
    with tempfile.TemporaryDirectory() as folder:
        copy, made = Path(folder) / "page.html", Path(folder) / "page.png"
        text = page.read_text(encoding="utf-8").replace("</head>", f"{style}</head>")
        copy.write_text(text, encoding="utf-8")
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   f"--user-data-dir={folder}/c", f"--window-size=1000,{height}",
                   "--virtual-time-budget=4000", f"--screenshot={made}"]  # fmt: skip
        subprocess.run(["chromium", *options, copy.as_uri()], check=True, capture_output=True)
        pixels = cv2.imread(str(made))
    assert pixels is not None, page
    cv2.imwrite(str(PLACE / f"{name}.webp"), pixels, [cv2.IMWRITE_WEBP_QUALITY, 72])


def main(run: Path, other: Path) -> None:
    """All pictures, in a folder of its own: no path of this machine is seen on them."""
    run, other = run.resolve(), other.resolve()
    PLACE.mkdir(exist_ok=True)
    for name, part, height in (("score", "score", 480), ("lists", "lists", 900), ("distances", "ranks", 470)):
        shot(run / "results/report/index.html", name, height, ONLY.format(part))
    data = run / "results/toy/MyDataSet/image_B_v1_1"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        named = {"before": run, "after": other, "photos": data / "gallery"}
        named["asked.png"] = min((data / "query").iterdir())
        named["model.pt"] = max((run / "results/train").glob("*/epoch_*.pt"))
        for name, path in named.items():
            Path(name).symlink_to(path)
        for name, words, height, style in (
            ("compare", ["before", "after"], 1000, FEW),
            ("find", ["model.pt", "asked.png", "--in", "photos", "--cache", "cache"], 560, ""),
        ):
            assert cli.main([name, *words, "--html", "page.html"]) == 0
            shot(Path("page.html"), name, height, style)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
