"""Makes the tutorial's pictures: `python docs/pictures.py FOLDER`, from nothing, in minutes. Wants Chromium.

Two runs on drawn people, `before` and `after`, are taken to their ends in FOLDER, unless they have ended.
"""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import yaml

from naic_reid import cli
from naic_reid.config import strict_yaml

PLACE = Path(__file__).parent / "pictures"
FEW = "<style>.wide ~ .wide, .wide ~ h3[id] { display: none }</style>"  # one table of a comparison
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


def ended(folder: Path, name: str, flip: bool, k1: int) -> Path:
    """A run on fewer people than the toy's, short enough to be wrong about some."""
    run, config = folder / name, folder / f"{name}.yaml"
    if not (run / "results/report/index.html").is_file():
        raw = strict_yaml.read((Path(__file__).parents[1] / "configs/toy.yaml").read_text(encoding="utf-8"))
        raw["toy"] |= {"train_identities": 20, "test_identities": 12, "images": 8}
        raw["holdout"]["share"], raw["train"]["epochs"], raw["ensemble"]["epochs"] = 0.2, 4, [4]
        for model, height in zip(raw["models"].values(), (96, 64), strict=True):
            model |= {"height": height, "width": height // 2}
        raw["extract"]["flip"], raw["rerank"]["green"]["k1"] = flip, k1
        folder.mkdir(parents=True, exist_ok=True)
        config.write_text(yaml.safe_dump(raw), encoding="utf-8")
        assert cli.main(["run", "--config", str(config), "--into", str(run)]) == 0
    return run


def main(folder: Path) -> None:
    """All pictures, in a folder of its own: no path of this machine is seen on them."""
    folder = folder.resolve()
    other, run = ended(folder, "before", flip=False, k1=6), ended(folder, "after", flip=True, k1=10)
    PLACE.mkdir(exist_ok=True)
    for name, part, height in (("score", "score", 480), ("lists", "lists", 900), ("distances", "ranks", 470)):
        shot(run / "results/report/index.html", name, height, ONLY.format(part))
    data = run / "results/toy/MyDataSet/image_B_v1_1"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        named = {"before": other, "after": run, "photos": data / "gallery"}
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
    main(Path(sys.argv[1]))
