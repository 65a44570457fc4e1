"""Augmentation of training images: partial bodies, flip, colour jitter, affine maps, pad and crop, erasing.

Drawing and doing are apart. `draw` makes every random number of a batch from one generator; `vary` and
`finish` only obey, so a batch does not depend on which worker makes it or in which order. `vary` works
on uint8 images with OpenCV, a few microseconds each; `finish` turns a batch into normalised floats on
whichever device it lies. Colours change before anything moves: the black that a crop or a turn brings in
is no part of the picture, takes no part in its mean, and stays black. Differs from the original, which
jitters the padded image.

Colour jitter is one affine map of R, G, B per image. With luma Y = w·x (Rec. 601) and Ȳ its mean
over the image:

    brightness b    x ← b·x
    contrast c      x ← c·x + (1 − c)·Ȳ
    saturation s    x ← s·x + (1 − s)·Y
    hue h           chroma of YIQ turned by 2π·h, luma kept

The four commute, so there is no order to draw. Differs from torchvision's `ColorJitter`: values are
rounded and clipped to 0 … 255 once at the end instead of after each step, and hue turns around the
grey axis at constant luma instead of the HSV hexagon at constant maximum.

A partial body keeps a share y = min(1, U(lo, hi)) of the image's rows, the upper ones or, for some images,
the lower ones, and likewise a share x of its columns, which lie anywhere; then it is stretched to the whole
image again, or the rest becomes blank, which is 0 after normalisation.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from naic_reid.data import policies

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of ImageNet's R, G, B in 0 … 1."""

_LUMA = np.array((0.299, 0.587, 0.114))
# I = 0.74 (R − Y) − 0.27 (B − Y) and Q = 0.48 (R − Y) + 0.41 (B − Y), as the FCC defines them.
_TO_YIQ = np.array((_LUMA, (0.74, 0, -0.27) - 0.47 * _LUMA, (0.48, 0, 0.41) - 0.89 * _LUMA))
_FROM_YIQ = np.linalg.inv(_TO_YIQ)

FILLS = {
    "mean": MEAN,
    "zero": (0.0, 0.0, 0.0),
    "black": (-MEAN[0] / STD[0], -MEAN[1] / STD[1], -MEAN[2] / STD[2]),
}
"""What a word of the recipe puts into erased rectangles, in normalised space."""


class Erasing(NamedTuple):
    """How random erasing draws a rectangle."""

    area: tuple[float, float]
    """Share of the image, uniform."""
    aspect: tuple[float, float]
    """Height / width, uniform: itself, or its logarithm."""
    logarithm: bool
    tries: int


ERASING = {
    "original": Erasing((0.02, 0.4), (0.3, 1 / 0.3), logarithm=False, tries=100),
    "torchvision": Erasing((0.02, 0.33), (0.3, 3.3), logarithm=True, tries=10),
}

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Recipe:
    """How much training images are varied; each is off at 0. The fields are the config's."""

    flip: float = 0.0
    pad: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0
    erasing_fill: str = "mean"
    erasing_draws: str = "original"
    """A key of `ERASING`."""
    rotation: float = 0.0
    """Degrees to either side."""
    translation: float = 0.0
    scaling: float = 0.0
    policy: str = "none"
    """A key of `policies.POLICIES`, or none."""
    policy_share: float = 1.0
    """Probability of the policy."""
    cmy: float = 0.0
    crop_keep: tuple[float, float] = (1.0, 1.0)
    """Least and greatest share of the rows that stay; what is drawn above 1 is the whole image."""
    crop_keep_x: tuple[float, float] = (1.0, 1.0)
    """Likewise of the columns."""
    crop_head: float = 0.0
    """Probability that upper rows go, and not lower ones."""
    crop_then: str = "stretch"
    """stretch or blank."""
    jitter: float = 1.0
    """Probability of the change of colours."""

    @property
    def crops(self) -> bool:
        return self.crop_keep[0] < 1 or self.crop_keep_x[0] < 1

    @property
    def recolours(self) -> bool:
        return any((self.brightness, self.contrast, self.saturation, self.hue))

    @property
    def bends(self) -> bool:
        return any((self.rotation, self.translation, self.scaling))


@dataclass(frozen=True)
class Draws:
    """What happens to each of B images; none: nothing of the kind happens to any."""

    flip: NDArray[np.bool_]
    """[B] mirrored or not."""
    shift: NDArray[np.int64]
    """[B, 2] rows and columns, in −pad … pad, by which the crop moves over the image."""
    colour: NDArray[np.float64] | None
    """[B, 4] factors of brightness, contrast, saturation, and the turn of hue."""
    erase: NDArray[np.int64]
    """[B, 4] top, left, height, width of the erased rectangle; height 0: none."""
    affine: NDArray[np.float64] | None = None
    """[B, 2, 3] from places (x, y, 1) in the image to places in the varied one."""
    cmy: NDArray[np.bool_] | None = None
    """[B] shown in cyan, magenta and yellow, or not."""
    policy: NDArray[np.int64] | None = None
    """[B] seeds of the policy's own draws; −1: it leaves the image alone."""
    noise: NDArray[np.int64] | None = None
    """[B] seeds of what fills the erased rectangles."""
    crop: NDArray[np.int64] | None = None
    """[B, 4] top, left, height, width of the part that stays (`geometry.Frame`)."""

    def __getitem__(self, rows: slice) -> "Draws":
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return Draws(
            **{name: values[name] if values[name] is None else values[name][rows] for name in values}
        )


def draw(recipe: Recipe, num: int, height: int, width: int, rng: np.random.Generator) -> Draws:
    """What shall happen to `num` images of height × width."""
    flip = rng.random(num) < recipe.flip
    shift = rng.integers(-recipe.pad, recipe.pad + 1, (num, 2))
    colour = None
    if recipe.recolours:
        reach = np.array((recipe.brightness, recipe.contrast, recipe.saturation))
        factors = rng.uniform(np.maximum(0, 1 - reach), 1 + reach, (num, 3))
        turn = rng.uniform(-recipe.hue, recipe.hue, (num, 1))
        colour = np.concatenate((factors, turn), axis=1)
        if recipe.jitter < 1:
            colour[rng.random(num) >= recipe.jitter] = (1, 1, 1, 0)
    erase = _rectangles(recipe, num, height, width, rng)
    affine = _affine(recipe, num, height, width, rng) if recipe.bends else None
    cmy = rng.random(num) < recipe.cmy if recipe.cmy else None
    policy = rng.integers(1 << 62, size=num) if recipe.policy != "none" else None
    if policy is not None and recipe.policy_share < 1:
        policy[rng.random(num) >= recipe.policy_share] = -1
    noise = rng.integers(1 << 62, size=num) if recipe.erasing_fill == "noise" else None
    crop = _parts(recipe, num, height, width, rng) if recipe.crops else None  # last: others keep their draws
    return Draws(flip, shift, colour, erase, affine, cmy, policy, noise, crop)


def _parts(recipe: Recipe, num: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Upper or lower rows, as VPM's training crops (Sun et al. 2019) with keep (.5, 1.0833); some columns."""
    rows = _kept(recipe.crop_keep, num, height, rng)
    top = np.where(rng.random(num) < recipe.crop_head, height - rows, 0)
    columns = _kept(recipe.crop_keep_x, num, width, rng)
    left = rng.integers(0, width - columns + 1)
    return np.stack((top, left, rows, columns), axis=1)


def _kept(shares: tuple[float, float], num: int, side: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How many pixels of a side stay."""
    share = np.minimum(1, rng.uniform(*shares, num))
    kept: NDArray[np.int64] = np.maximum(1, np.rint(share * side)).astype(np.int64)
    return kept


def _affine(
    recipe: Recipe, num: int, height: int, width: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Turns and sizes about the middle, then shifts: torchvision's `RandomAffine` without shear."""
    angle = np.radians(rng.uniform(-recipe.rotation, recipe.rotation, num))
    size = rng.uniform(1 - recipe.scaling, 1 + recipe.scaling, num)
    reach = recipe.translation * np.array((width, height))
    moved = rng.uniform(-reach, reach, (num, 2))
    cosine, sine = size * np.cos(angle), size * np.sin(angle)
    linear = np.stack((np.stack((cosine, -sine), axis=1), np.stack((sine, cosine), axis=1)), axis=1)
    middle = np.array(((width - 1) / 2, (height - 1) / 2))
    return np.concatenate((linear, (middle + moved - linear @ middle)[..., None]), axis=2)


def _rectangles(
    recipe: Recipe, num: int, height: int, width: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Random erasing (Zhong et al. 2020, algorithm 1); `ERASING` has the two ways to draw.

    The first of the tries that lies strictly inside the image; none: no erasing.
    """
    draws = ERASING[recipe.erasing_draws]
    chosen = rng.random(num) < recipe.erasing
    area = rng.uniform(*draws.area, (num, draws.tries)) * height * width
    if draws.logarithm:
        low, high = np.log(draws.aspect).tolist()
        aspect = np.exp(rng.uniform(low, high, (num, draws.tries)))
    else:
        aspect = rng.uniform(*draws.aspect, (num, draws.tries))
    tall = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    wide = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (tall < height) & (wide < width)
    first = np.argmax(fits, axis=1)
    rows = np.arange(num)
    chosen &= fits[rows, first]
    tall, wide = tall[rows, first] * chosen, wide[rows, first] * chosen
    place = rng.random((num, 2))
    top = (place[:, 0] * (height - tall + 1)).astype(np.int64)
    left = (place[:, 1] * (width - wide + 1)).astype(np.int64)
    return np.stack((top, left, tall, wide), axis=1)


def vary(images: Pixels, draws: Draws, policy: str = "none", crop_then: str = "stretch") -> Pixels:
    """Images uint8 [B, H, W, 3] varied.

    Parts stretched, policy, flip, colours, CMY, affine map, crop over a black border.
    """
    varied = np.zeros(images.shape, np.uint8)
    num, height, width, _ = images.shape
    for i in range(num):
        image = images[i]
        if draws.crop is not None and crop_then == "stretch":
            top, left, rows, columns = draws.crop[i].tolist()
            if (rows, columns) != (height, width):
                part = image[top : top + rows, left : left + columns]
                image = np.asarray(cv2.resize(part, (width, height)), np.uint8)
        if draws.policy is not None and draws.policy[i] >= 0:
            image = policies.POLICIES[policy](image, np.random.default_rng(draws.policy[i]))
        if draws.flip[i]:
            image = np.asarray(cv2.flip(image, 1), np.uint8)
        if draws.colour is not None:
            image = recoloured(image, draws.colour[i])
        if draws.cmy is not None and draws.cmy[i]:
            image = cyan_magenta_yellow(image)
        if draws.affine is not None:
            image = np.asarray(cv2.warpAffine(image, draws.affine[i], (width, height)), np.uint8)
        down, right = draws.shift[i].tolist()
        target = varied[i, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
        target[:] = image[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
    return varied


def recoloured(image: Pixels, factors: NDArray[np.float64]) -> Pixels:
    """The image uint8 [H, W, 3] in other colours; `factors` is a row of `Draws.colour`."""
    brightness, contrast, saturation, turn = factors.tolist()
    cosine, sine = saturation * np.cos(2 * np.pi * turn), saturation * np.sin(2 * np.pi * turn)
    chroma = np.array(((1, 0, 0), (0, cosine, -sine), (0, sine, cosine)))
    linear = brightness * contrast * (_FROM_YIQ @ chroma @ _TO_YIQ)
    grey = (1 - contrast) * brightness * float(_LUMA @ cv2.mean(image)[:3])
    return np.asarray(cv2.transform(image, np.column_stack((linear, np.full(3, grey)))), np.uint8)


def cyan_magenta_yellow(image: Pixels) -> Pixels:
    """C, M and Y of an image uint8 [H, W, 3] with black taken out: (max − x) / max, 0 where it is black."""
    brightest = image.max(axis=2, keepdims=True).astype(np.float32)
    share = (brightest - image) / np.maximum(brightest, 1)
    levels: Pixels = np.rint(255 * share).astype(np.uint8)
    return levels


def noise(draws: Draws) -> Tensor | None:
    """What fills the erased rectangles, float32 [their pixels, 3], image by image; None: MEAN does.

    Each image's deviates are normal, from a generator of its own.
    """
    if draws.noise is None:
        return None
    areas = (draws.erase[:, 2] * draws.erase[:, 3]).tolist()
    parts = [
        np.random.default_rng(seed).standard_normal((area, 3), np.float32)
        for seed, area in zip(draws.noise, areas, strict=True)
    ]
    return torch.from_numpy(np.concatenate(parts))


def finish(
    images: Tensor,
    erase: Tensor,
    fill: Tensor | None = None,
    constant: tuple[float, float, float] = MEAN,
    frames: Tensor | None = None,
) -> Tensor:
    """Normalised float32 [B, 3, H, W], channels last in memory, of uint8 [B, H, W, 3]; parts erased.

    What is erased becomes `constant` *in normalised space*, by default MEAN, as in the original, or what
    `noise` drew. All images are erased at once, and nothing waits for the device.

    Args:
        images: on any device, as the others.
        erase: int64 [B, 4], `Draws.erase`.
        fill: what `noise` gave, or None.
        constant: of R, G, B.
        frames: int64 [B, 4], outside of which images are blank: 0; None: nowhere.
    """
    finished = _floats(images)
    erased = inside(erase, images.shape[1], images.shape[2])
    if fill is not None:
        finished.masked_scatter_(erased[..., None], fill)
    else:
        for channel, value in enumerate(constant):
            finished[..., channel].masked_fill_(erased, value)
    return _blanked(finished, frames).permute(0, 3, 1, 2)


def inside(rectangles: Tensor, height: int, width: int) -> Tensor:
    """Which pixels lie in each image's rectangle: bool [B, height, width] of int64 [B, 4]."""
    top, left, tall, wide = rectangles[:, :, None].unbind(1)
    y, x = _places(height, rectangles.device), _places(width, rectangles.device)
    rows, columns = (y >= top) & (y < top + tall), (x >= left) & (x < left + wide)
    return rows[:, :, None] & columns[:, None, :]


def normalised(images: Tensor, frames: Tensor | None = None) -> Tensor:
    """(x / 255 − MEAN) / STD as float32 [B, 3, H, W], channels last in memory, of uint8 [B, H, W, 3].

    Outside of `frames`, int64 [B, 4] of top, left, height, width, it is 0.
    """
    return _blanked(_floats(images), frames).permute(0, 3, 1, 2)


def _blanked(images: Tensor, frames: Tensor | None) -> Tensor:
    """The images [B, H, W, 3] themselves, 0 outside of their frames."""
    if frames is not None:
        images.masked_fill_(~inside(frames, images.shape[1], images.shape[2])[..., None], 0)
    return images


def mirrored(inputs: Tensor, frames: Tensor | None = None) -> Tensor:
    """Inputs [B, C, H, W] mirrored, each within its frame, int64 [B, 4]; None: within the whole input."""
    if frames is None:
        return inputs.flip(3)
    left, width = frames[:, 1, None], frames[:, 3, None]
    column = _places(inputs.shape[3], inputs.device)
    there = torch.where((column >= left) & (column < left + width), 2 * left + width - 1 - column, column)
    return torch.take_along_dim(inputs, there[:, None, None, :], 3)


def _floats(images: Tensor) -> Tensor:
    """Normalised float32 [B, H, W, 3]."""
    num, height, width, _ = images.shape
    scale = _row(tuple(1 / (255 * deviation) for deviation in STD), width, images.device)
    shift = _row(
        tuple(-mean / deviation for mean, deviation in zip(MEAN, STD, strict=True)), width, images.device
    )
    # By rows of W · 3 and in place: ten times faster on a CPU than to broadcast over the last three.
    rows = images.reshape(num, height, 3 * width).float().mul_(scale).add_(shift)
    return rows.view(num, height, width, 3)


@lru_cache
def _places(num: int, device: torch.device) -> Tensor:
    """0 … num − 1 on the device; kept, as `_row` is."""
    return torch.arange(num, device=device)


@lru_cache
def _row(values: tuple[float, ...], times: int, device: torch.device) -> Tensor:
    """The values, repeated, on the device; kept, for to send them there makes the host wait."""
    return torch.tensor(values * times, device=device)
