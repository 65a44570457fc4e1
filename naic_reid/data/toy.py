"""Persons drawn from a seed: what a camera would see of somebody who does not exist.

A person is a handful of traits (clothes, patterns, hair, bag, build); a camera is a scene and the way
it records colour and detail. `draw` shows one person to one camera in one pose. Every value comes from
a generator keyed by (seed, what, number), so any image can be drawn alone and is always the same.

Clothes come from short palettes: several persons wear the same colours and differ in pattern, cut,
hair or bag, so mean colour does not tell them apart. Colours are written R, G, B as people read them;
images are uint8 [H, W, 3] in OpenCV's order B, G, R.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Canvas = NDArray[np.float32]
"""An unfinished image: float32 [H, W, 3], R, G, B in 0 … 255."""
Point = tuple[float, float]
"""x and y in body heights: x = 0 is the body's axis, y = 0 the top of the head, y = 1 the sole."""
Domain = Literal["green", "normal"]

_TOPS: tuple[Colour, ...] = (
    (225, 225, 220), (35, 35, 40), (130, 130, 135), (170, 40, 45), (45, 75, 150),
    (60, 105, 70), (200, 160, 60), (120, 70, 130),
)  # fmt: skip
_BOTTOMS: tuple[Colour, ...] = ((30, 30, 35), (50, 65, 105), (105, 105, 110), (150, 130, 95), (200, 200, 200))
_TOP_NAMES = ("white", "black", "grey", "red", "blue", "green", "yellow", "purple")
_BOTTOM_NAMES = ("black", "blue", "grey", "brown", "white")
_HAIR: tuple[Colour, ...] = ((25, 20, 18), (60, 40, 25), (120, 85, 45), (150, 150, 150))
_SKIN: tuple[Colour, ...] = ((235, 200, 175), (205, 160, 125), (150, 105, 75), (95, 65, 50))
_BAGS: tuple[Colour, ...] = ((25, 25, 30), (140, 50, 40), (60, 85, 60), (170, 135, 90), (50, 60, 130))
_PATTERNS = ("plain", "plain", "hoops", "bars", "checks", "halves", "print", "jacket")
_HAIRCUTS = ("short", "short", "long", "bun", "cap")
_CUTS = ("trousers", "trousers", "shorts", "skirt", "coat")
_LUGGAGE = ("none", "backpack", "shoulder", "hand")

_FINER = 2  # drawn this many times finer than asked, then averaged: smooth edges
_DARKEST = {"green": (74.0, 115.0), "normal": (34.0, 60.0)}  # range of the darkest channel's mean


@dataclass(frozen=True)
class Person:
    """What stays the same about somebody, from whichever side they are seen."""

    skin: Colour
    hair: Colour
    haircut: str
    top: Colour
    second: Colour
    """The other colour of a patterned top."""
    pattern: str
    period: float
    """Width of a stripe, in body heights."""
    long_sleeves: bool
    bottom: Colour
    cut: str
    shoes: Colour
    luggage: str
    bag: Colour
    tall: float
    """Body height as a share of the image's height."""
    build: float
    """Breadth, 1 on average."""


def worn(who: Person) -> dict[str, str]:
    """What somebody wears and carries, in words: the attributes that a table would name."""
    return {
        "sleeves": "long" if who.long_sleeves else "short",
        "cut": who.cut,
        "luggage": who.luggage,
        "haircut": who.haircut,
        "top": _called(who.top, _TOPS, _TOP_NAMES),
        "bottom": _called(who.bottom, _BOTTOMS, _BOTTOM_NAMES),
    }


def _called(colour: Colour, palette: Sequence[Colour], names: Sequence[str]) -> str:
    """The name of the colour of a palette that is nearest."""
    far = np.linalg.norm(np.subtract(palette, colour), axis=1)
    return names[int(far.argmin())]


@dataclass(frozen=True)
class Camera:
    """Where a camera hangs and how it records."""

    wall: Colour
    ground: Colour
    horizon: float
    """Share of the image above the ground."""
    gains: Colour
    gamma: float
    detail: float
    """Share of the resolution that survives."""
    blur: float
    """Standard deviation in pixels."""
    noise: float
    """Standard deviation in grey levels."""


def generator(seed: int, *key: int) -> np.random.Generator:
    """The random generator of one thing, e.g. (seed, kind, person, image); independent of all others."""
    return np.random.default_rng([seed, *key])


def person(rng: np.random.Generator) -> Person:
    """Somebody, at random."""
    top, second = rng.choice(len(_TOPS), 2, replace=False)
    return Person(
        skin=_near(_SKIN[rng.integers(len(_SKIN))], 8, rng),
        hair=_near(_HAIR[rng.integers(len(_HAIR))], 8, rng),
        haircut=str(rng.choice(_HAIRCUTS)),
        top=_near(_TOPS[top], 14, rng),
        second=_near(_TOPS[second], 14, rng),
        pattern=str(rng.choice(_PATTERNS)),
        period=float(rng.uniform(0.022, 0.05)),
        long_sleeves=bool(rng.random() < 0.6),
        bottom=_near(_BOTTOMS[rng.integers(len(_BOTTOMS))], 12, rng),
        cut=str(rng.choice(_CUTS)),
        shoes=_near(_TOPS[rng.integers(4)], 20, rng),
        luggage=str(rng.choice(_LUGGAGE)),
        bag=_near(_BAGS[rng.integers(len(_BAGS))], 10, rng),
        tall=float(rng.uniform(0.82, 0.92)),
        build=float(rng.uniform(0.85, 1.25)),
    )


def camera(rng: np.random.Generator) -> Camera:
    """A camera in its place, at random."""
    grey = rng.uniform(110, 190)
    return Camera(
        wall=_near((grey, grey, grey), 35, rng),
        ground=_near((150, 145, 130), 40, rng),
        horizon=float(rng.uniform(0.2, 0.6)),
        gains=_near((1.0, 1.0, 1.0), 0.12, rng),
        gamma=float(rng.uniform(0.85, 1.2)),
        detail=float(rng.uniform(0.5, 1.0)),
        blur=float(rng.uniform(0.2, 0.8)),
        noise=float(rng.uniform(1.0, 5.0)),
    )


def draw(
    who: Person, where: Camera, domain: Domain, height: int, width: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One image of a person, uint8 [height, width, 3] in B, G, R order.

    In the domain `green` every channel's mean lies well above 65, in `normal` at least one well below,
    and the colours are tinted anew in each image, as a good part of the competition's are.
    """
    canvas = _backdrop(where, _FINER * height, _FINER * width, rng)
    _figure(canvas, who, rng)
    if rng.random() < 0.25:
        _occluder(canvas, rng)
    if rng.random() < 0.5:
        canvas = np.ascontiguousarray(canvas[:, ::-1])
    canvas = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    recorded = _recorded(canvas, where, domain, rng)
    return np.ascontiguousarray(recorded[:, :, ::-1])


def _near(colour: Colour, spread: float, rng: np.random.Generator) -> Colour:
    red, green, blue = np.asarray(colour) + rng.uniform(-spread, spread, 3)
    return float(red), float(green), float(blue)


# The scene.


def _backdrop(where: Camera, height: int, width: int, rng: np.random.Generator) -> Canvas:
    """Wall and ground of the camera's scene, with whatever stands about today."""
    horizon = int(height * np.clip(where.horizon + rng.normal(0, 0.04), 0.05, 0.8))
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:horizon] = where.wall
    canvas[horizon:] = where.ground
    for _ in range(rng.integers(4, 10)):
        grey = rng.uniform(50, 215)
        colour = _near((grey, grey, grey), 30, rng)
        x, y = int(rng.uniform(-0.2, 1) * width), int(rng.uniform(-0.1, 0.8) * height)
        across, down = (int(side) for side in rng.uniform(0.06, 0.4, 2) * (width, height))
        kind = rng.random()
        if kind < 0.4:
            cv2.rectangle(canvas, (x, y), (x + across, y + down), colour, -1)
        elif kind < 0.7:
            cv2.ellipse(canvas, (x, y), (across, down // 2), rng.uniform(0, 90), 0, 360, colour, -1)
        else:
            cv2.line(canvas, (x, y), (x + 2 * across, y + 2 * down), colour, 1 + across // 8, cv2.LINE_AA)
    return _uneven(canvas, 9, rng)


def _uneven(canvas: Canvas, strength: float, rng: np.random.Generator) -> Canvas:
    """The canvas with uneven light on it, coarse and fine."""
    height, width = canvas.shape[:2]
    for cells in (2, 6, 24):
        patches = rng.normal(0, strength, (2 * cells, cells)).astype(np.float32)
        canvas += cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)[:, :, None]
    return canvas


def _occluder(canvas: Canvas, rng: np.random.Generator) -> None:
    """Something between camera and person: a low thing in front of the legs, or a post at one side."""
    height, width = canvas.shape[:2]
    grey = rng.uniform(40, 190)
    colour = _near((grey, grey, grey), 30, rng)
    if rng.random() < 0.5:
        top = int(height * rng.uniform(0.68, 0.85))
        cv2.rectangle(canvas, (0, top), (int(width * rng.uniform(0.5, 1)), height), colour, -1)
    else:
        left = int(width * rng.choice((rng.uniform(0, 0.2), rng.uniform(0.6, 0.8))))
        cv2.rectangle(canvas, (left, 0), (left + int(width * rng.uniform(0.1, 0.25)), height), colour, -1)


# The person.


class _Body:
    """A canvas that is drawn on in body heights from the top of the head."""

    def __init__(self, canvas: Canvas, tall: float, rng: np.random.Generator) -> None:
        height, width = canvas.shape[:2]
        self.canvas = canvas
        self.unit = float(height * tall * rng.uniform(0.94, 1.05))
        self.x = width * (0.5 + rng.normal(0, 0.05))
        self.y = height * (0.5 + rng.normal(0, 0.025)) - self.unit / 2

    def pixel(self, point: Point) -> tuple[int, int]:
        return round(self.x + point[0] * self.unit), round(self.y + point[1] * self.unit)

    def length(self, share: float) -> int:
        return max(1, round(share * self.unit))

    def limb(self, points: Sequence[Point], thick: float, colour: Colour) -> None:
        for start, end in pairwise(points):
            cv2.line(self.canvas, self.pixel(start), self.pixel(end), colour, self.length(thick), cv2.LINE_AA)

    def blob(self, centre: Point, across: float, down: float, colour: Colour) -> None:
        axes = self.length(across), self.length(down)
        cv2.ellipse(self.canvas, self.pixel(centre), axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    def shape(self, points: Sequence[Point], colour: Colour) -> None:
        outline = np.array([self.pixel(point) for point in points], np.int32)
        cv2.fillPoly(self.canvas, [outline], colour, cv2.LINE_AA)

    def mask(self, points: Sequence[Point]) -> NDArray[np.bool_]:
        """Pixels inside the outline, bool [H, W]."""
        inside = np.zeros(self.canvas.shape[:2], np.uint8)
        cv2.fillPoly(inside, [np.array([self.pixel(point) for point in points], np.int32)], 1)
        return inside.astype(bool)


def _figure(canvas: Canvas, who: Person, rng: np.random.Generator) -> None:
    """Draws the person in a random step of their walk, seen from a random side."""
    body = _Body(canvas, who.tall, rng)
    turn = rng.choice((0.0, 0.5, 1.0)) * np.pi + rng.normal(0, 0.25)  # 0 towards us, 1/2 sideways, 1 away
    front, side = float(np.cos(turn)), float(abs(np.sin(turn)))
    step = float(rng.uniform(-1, 1))
    shoulder = who.build * (0.065 + 0.045 * abs(front))
    hip = who.build * (0.055 + 0.025 * abs(front))
    lean = 0.02 * side
    torso = [(-shoulder + lean, 0.17), (-0.03 + lean, 0.145), (0.03 + lean, 0.145),
             (shoulder + lean, 0.17), (hip, 0.52), (-hip, 0.52)]  # fmt: skip

    if who.luggage == "backpack" and front > -0.5:  # behind the body: only its edge shows
        body.blob((-0.08 * side, 0.29), 0.07 + 0.02 * side, 0.12, who.bag)
    _arm(body, who, (-shoulder * 0.9 + lean, 0.19), -step, side)
    for swing in (-step, step):
        _leg(body, who, hip, swing, front, side)
    _garment(body, who, torso, front)
    if who.cut in ("skirt", "coat"):
        colour, hem = (who.bottom, 0.68) if who.cut == "skirt" else (who.top, 0.74)
        flare = hip * 1.3 + 0.03 * side * abs(step)
        body.shape([(-hip, 0.5), (hip, 0.5), (flare, hem), (-flare, hem)], colour)
    if who.luggage == "backpack":
        if front < -0.5:
            across = 0.085 * who.build
            body.shape([(-0.7 * across, 0.17), (0.7 * across, 0.17), (across, 0.25), (across, 0.43),
                        (-across, 0.43), (-across, 0.25)], who.bag)  # fmt: skip
            body.limb([(-across, 0.33), (across, 0.33)], 0.014, _darker(who.bag, 0.7))
        elif front > 0.5:
            for x in (-0.5, 0.5):
                body.limb([(x * shoulder, 0.16), (x * shoulder, 0.36)], 0.022, who.bag)
    _head(body, who, front, side, lean)
    hand = _arm(body, who, (shoulder * 0.9 + lean, 0.19), step, side)
    if who.luggage == "hand":
        body.shape([(hand[0] - 0.05, hand[1]), (hand[0] + 0.05, hand[1]), (hand[0] + 0.06, hand[1] + 0.12),
                    (hand[0] - 0.06, hand[1] + 0.12)], who.bag)  # fmt: skip
    if who.luggage == "shoulder":
        body.limb([(-shoulder * 0.6, 0.16), (hip + 0.02, 0.46)], 0.016, who.bag)
        body.blob((hip + 0.02, 0.49), 0.055, 0.06, who.bag)


def _arm(body: _Body, who: Person, shoulder: Point, swing: float, side: float) -> Point:
    """Draws one arm; returns where its hand is."""
    angle = 0.6 * swing * side + 0.12 * np.sign(shoulder[0]) * (1 - side)
    elbow = shoulder[0] + 0.16 * float(np.sin(angle)), shoulder[1] + 0.16 * float(np.cos(angle))
    bent = angle + 0.35 * side
    hand = elbow[0] + 0.15 * float(np.sin(bent)), elbow[1] + 0.15 * float(np.cos(bent))
    shade = _darker(who.top, 0.9)
    body.limb([shoulder, elbow, hand], 0.04, who.skin)
    body.limb([shoulder, elbow, hand] if who.long_sleeves else [shoulder, elbow], 0.055 * who.build, shade)
    body.blob(hand, 0.022, 0.026, who.skin)
    return hand


def _leg(body: _Body, who: Person, hip: float, swing: float, front: float, side: float) -> None:
    start = (np.sign(swing) * hip * 0.5 * abs(front), 0.5)
    angle = 0.45 * swing * side
    knee = start[0] + 0.23 * float(np.sin(angle)), start[1] + 0.23 * float(np.cos(angle))
    back = angle - 0.35 * side * max(0.0, -swing)  # the rear leg is bent at the knee
    lift = 0.03 * abs(front) * max(0.0, -swing)
    foot = knee[0] + 0.23 * float(np.sin(back)), knee[1] + 0.23 * float(np.cos(back)) - lift
    colour = _darker(who.bottom, 0.88 if swing < 0 else 1.0)
    bare = who.cut in ("shorts", "skirt")
    body.limb([start, knee, foot], 0.06 if bare else 0.075 * who.build, who.skin if bare else colour)
    if who.cut == "shorts":
        body.limb([start, (knee[0] * 0.9 + start[0] * 0.1, knee[1] - 0.02)], 0.095 * who.build, colour)
    body.blob((foot[0] + 0.03 * side, foot[1] + 0.01), 0.032 + 0.02 * side, 0.022, who.shoes)


def _garment(body: _Body, who: Person, outline: Sequence[Point], front: float) -> None:
    """Fills the torso with the top's pattern; a print and an open jacket show from the front only."""
    inside = body.mask(outline)
    y, x = np.mgrid[: inside.shape[0], : inside.shape[1]]
    x, y = (x - body.x) / body.unit, (y - body.y) / body.unit
    across, down = np.floor(x / who.period) % 2 == 0, np.floor(y / who.period) % 2 == 0
    other = {
        "hoops": down,
        "bars": across,
        "checks": across ^ down,
        "halves": y > 0.33,
        "print": (front > 0) & (abs(x) < 0.05 * max(front, 0)) & (abs(y - 0.28) < 0.05),
        "jacket": (front > 0) & (abs(x) < 0.045 * max(front, 0)),
    }.get(who.pattern, np.zeros_like(inside))
    body.canvas[inside] = who.top
    body.canvas[inside & other] = who.second
    folds = 1 - 0.16 * np.clip(abs(x) / 0.1, 0, 1)
    body.canvas[inside] *= folds[inside, None].astype(np.float32)


def _head(body: _Body, who: Person, front: float, side: float, lean: float) -> None:
    x = lean * 1.5
    body.limb([(x, 0.09), (lean, 0.16)], 0.05, who.skin)
    if who.haircut == "long":
        body.blob((x - 0.015 * side, 0.1), 0.058, 0.1, who.hair)
    body.blob((x, 0.07), 0.048, 0.064, who.skin if front > -0.5 else who.hair)
    cap = who.second if who.haircut == "cap" else who.hair
    body.blob((x - 0.012 * side, 0.038), 0.052, 0.036, cap)
    if front < 0.5 and who.haircut != "cap":
        body.blob((x - 0.025 * side, 0.06), 0.036 + 0.012 * (1 - side), 0.05, who.hair)
    if who.haircut == "bun":
        body.blob((x - 0.05 * side, 0.02), 0.03, 0.028, who.hair)
    if who.haircut == "cap" and front > -0.5:
        body.limb([(x, 0.05), (x + 0.075 * side + 0.01, 0.052)], 0.018, _darker(cap, 0.8))


def _darker(colour: Colour, share: float) -> Colour:
    return colour[0] * share, colour[1] * share, colour[2] * share


# The recording.


def _recorded(scene: Canvas, where: Camera, domain: Domain, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera makes of the light: detail, colour, exposure, noise; still R, G, B."""
    height, width = scene.shape[:2]
    small = max(8, round(width * where.detail)), max(16, round(height * where.detail))
    coarse = cv2.resize(scene, small, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(cv2.resize(coarse, (width, height)), (0, 0), where.blur)
    gains = np.asarray(where.gains) * rng.uniform(0.95, 1.05, 3)
    if domain == "normal":
        gains = gains * rng.uniform(0.45, 1.0, 3)
    light = 255 * (np.clip(blurred, 0, 255) / 255) ** where.gamma * gains
    light = light + rng.normal(0, where.noise, light.shape)
    aim = rng.uniform(*_DARKEST[domain])
    light = np.clip(light * (aim / light.mean((0, 1)).min()), 0, 255)
    short = aim - light.mean((0, 1)).min()  # what clipping at white took away
    if domain == "green" and short > 0:
        light = 255 - (255 - light) * (1 - short / (255 - light.mean((0, 1)).min()))
    recorded: NDArray[np.uint8] = np.rint(light).astype(np.uint8)
    return recorded
