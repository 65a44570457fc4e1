"""Makes the pictures of `docs/partial.md`: `python docs/partial_pictures.py`, from a drawn person alone."""

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from naic_reid.data import toy
from naic_reid.data.augment import MEAN, STD, Recipe, draw, finish, vary
from naic_reid.data.crops import SEED, STRESS, Crop
from naic_reid.data.geometry import Geometry

PLACE = Path(__file__).parent / "pictures"
HEIGHT, WIDTH = 128, 64
"""Of the network's input."""
_TWICE, _MARGIN, _LINE = 2, 12, 16
_BLANK = np.array(MEAN) * 255  # what 0 after normalisation stands for

Pixels = NDArray[np.uint8]


def picture() -> Pixels:
    """A whole body of 8:3, uint8 [128, 48, 3], RGB."""
    rng = toy.generator(5, 3)
    drawn = toy.draw(toy.person(rng), toy.camera(rng), "green", 128, 48, rng)
    return np.ascontiguousarray(drawn[:, :, ::-1])


def shown(part: Pixels, policy: str, widen: float) -> Pixels:
    """The input as a network gets it: of `crop` smaller than 128 × 64, of `pad` with what is blank."""
    geometry = Geometry(HEIGHT, WIDTH, policy=policy, widen=widen)
    frame, fitted = geometry.frame(*part.shape[:2]), geometry.fitted(part)
    if policy == "crop":
        return fitted
    canvas = np.broadcast_to(_BLANK, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    canvas[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = fitted
    return canvas


def cut(whole: Pixels, crop: Crop) -> Pixels:
    """The picture, what is cut off it faint."""
    faint = (255 - (255 - whole.astype(int)) * 0.22).astype(np.uint8)
    faint[crop.top : crop.bottom] = whole[crop.top : crop.bottom]
    return faint


def trained(whole: Pixels, keep: float, head: float, then: str) -> Pixels:
    """What `train.augment` makes of the picture."""
    images = Geometry(HEIGHT, WIDTH).fitted(whole)[None]
    draws = draw(Recipe(crop_keep=(keep, keep), crop_head=head), 1, HEIGHT, WIDTH, np.random.default_rng(0))
    varied = torch.from_numpy(vary(images, draws, crop_then=then))
    frames = torch.from_numpy(draws.crop) if then == "blank" and draws.crop is not None else None
    made = finish(varied, torch.from_numpy(draws.erase), frames=frames)[0].permute(1, 2, 0).numpy()
    return np.clip(np.rint((made * STD + MEAN) * 255), 0, 255).astype(np.uint8)


def sheet(rows: list[list[tuple[str, Pixels]]]) -> Pixels:
    """Pictures in rows, twice their size, each with its lines of text above."""
    cells = [[_cell(text, pixels) for text, pixels in row] for row in rows]
    height = sum(max(cell.shape[0] for cell in row) for row in cells)
    made = np.full((height, max(sum(cell.shape[1] for cell in row) for row in cells), 3), 255, np.uint8)
    top = 0
    for row in cells:
        left = 0
        for cell in row:
            made[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
            left += cell.shape[1]
        top += max(cell.shape[0] for cell in row)
    return made


def _cell(text: str, pixels: Pixels) -> Pixels:
    large = cv2.resize(pixels, None, fx=_TWICE, fy=_TWICE, interpolation=cv2.INTER_NEAREST)
    lines = text.split("\n")
    height = _LINE * len(lines) + large.shape[0] + 2 * _MARGIN
    cell = np.full((height, max(_TWICE * WIDTH, large.shape[1]) + _MARGIN, 3), 255, np.uint8)
    for number, line in enumerate(lines, start=1):
        cv2.putText(
            cell, line, (2, _LINE * number - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA
        )
    top = _LINE * len(lines)
    cell[top : top + large.shape[0], : large.shape[1]] = large
    cv2.rectangle(cell, (0, top), (large.shape[1] - 1, top + large.shape[0] - 1), (120, 120, 120), 1)
    return cell


def geometries() -> Pixels:
    """A whole body and its upper half, in all ways to bring them to an input."""
    whole = picture()
    rows = []
    for name, part in (("the whole", whole), ("its half", whole[: len(whole) // 2])):
        row = [
            (f"{name}\n{part.shape[0]} x {part.shape[1]}", part),
            ("resize\n128 x 64", shown(part, "resize", 1)),
        ]
        for policy in ("crop", "pad"):
            for told, widen in (("1", 1.0), ("1.3333", 4 / 3)):
                made = shown(part, policy, widen)
                row.append((f"{policy}, widen {told}\n{made.shape[0]} x {made.shape[1]}", made))
        rows.append(row)
    return sheet(rows)


def crops() -> Pixels:
    """What tests cut off, by rules that draw or do not, and what training makes of parts."""
    whole = picture()
    tests = []
    for test in ("legs_0.3", "legs_0.5", "legs_0.7", "head_0.5", "both_0_50", "legs_25_55"):
        crop = STRESS[test].drawn(*whole.shape[:2], seed=SEED, test=test, image="a.png")
        tests.append((f"{test}\nrows {crop.top} to {crop.bottom}", cut(whole, crop)))
    parts = [
        (f"{then}\nkeep {keep}, {'head' if head else 'legs'} cut", trained(whole, keep, head, then))
        for then in ("stretch", "blank")
        for keep, head in ((0.5, 0.0), (0.75, 0.0), (0.75, 1.0))
    ]
    return sheet([tests, parts])


def main() -> None:
    for name, made in (("geometries", geometries()), ("crops", crops())):
        path = str(PLACE / f"{name}.webp")
        cv2.imwrite(path, made[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 85])


if __name__ == "__main__":
    main()
