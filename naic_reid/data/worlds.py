"""Drawn miniature data sets in every layout: the persons of `toy`, under the names that data sets give them.

A world has persons to train on and to test, each seen by every camera, junk and distractors where the data
set has them, and files that are no images. Equal arguments give equal bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2

from naic_reid.artifacts import DISTRACTOR, JUNK
from naic_reid.data.attributes import told
from naic_reid.data.toy import Person, camera, draw, generator, person, worn

TRAIN, TEST = (2, 7, 10, 11, 12, 22), (1, 3, 5, 8)
CAMERAS = (1, 2, 3)
_PERSON, _CAMERA, _IMAGE = 0, 1, 2  # generator keys
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 92]


class Shot(NamedTuple):
    """One image to draw."""

    role: str
    person: int
    camera: int
    number: int
    """Of the person's images in this role."""
    mark: str = ""


class World:
    """A folder being filled with drawn images and lists."""

    def __init__(self, folder: Path, seed: int, height: int, width: int) -> None:
        self.folder, self._seed, self._size = folder, seed, (height, width)

    def put(self, path: str, shot: Shot) -> None:
        """Draws a shot into a file, in the format of its suffix."""
        who = self.person(shot.person)
        where = camera(generator(self._seed, _CAMERA, shot.camera))
        key = [*shot.role.encode(), *shot.mark.encode(), shot.person, shot.camera, shot.number]
        pixels = draw(who, where, "normal", *self._size, generator(self._seed, _IMAGE, *key))
        if shot.mark == JUNK:
            pixels = pixels[len(pixels) // 2 :]  # a detector that saw half of somebody
        done, content = cv2.imencode(Path(path).suffix, pixels, _QUALITY if path.endswith(".jpg") else [])
        assert done, path
        self.write(path, content.tobytes())

    def person(self, number: int) -> Person:
        """Who is called so."""
        return person(generator(self._seed, _PERSON, number))

    def attributes(self, path: str, persons: Iterable[int], name: str = "{:04}") -> None:
        """A table of what these persons wear."""
        rows = [(name.format(number), worn(self.person(number))) for number in persons]
        told(rows).write(self.folder / path)

    def write(self, path: str, content: bytes | Iterable[str]) -> None:
        """A file's bytes, or its lines."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, bytes) else "".join(f"{line}\n" for line in content).encode()
        target.write_bytes(text)


def drawn(
    layout: str, folder: Path, *, variant: str = "", seed: int = 7, height: int = 64, width: int = 32
) -> None:
    """A miniature data set in this layout; of MSMT17, variant `v2` is the release with blurred faces."""
    WORLDS[layout](World(folder, seed, height, width), variant)


def shots(*, junk: bool = False, distractors: bool = False) -> Iterator[Shot]:
    """Two training images for each person and camera, one to three test images of each in their roles."""
    yield from (Shot("train", who, at, n) for who in TRAIN for at in CAMERAS for n in (0, 1))
    for who in TEST:
        yield from (Shot("query", who, at, 0) for at in CAMERAS)
        yield from (Shot("gallery", who, at, n) for at in CAMERAS for n in (0, 1))
    if junk:
        yield from (Shot("gallery", who, at, 9, JUNK) for who in TEST for at in CAMERAS[:2])
    if distractors:
        yield from (Shot("gallery", 90 + at, at, n, DISTRACTOR) for at in CAMERAS for n in (0, 1))


def _published(shot: Shot) -> str:
    """The person as Market-1501 writes it."""
    return {JUNK: "-1", DISTRACTOR: "0000"}.get(shot.mark, f"{shot.person:04}")


def _market1501(world: World, variant: str) -> None:
    home = "Market-1501-v15.09.15"
    places = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    for at, shot in enumerate(shots(junk=True, distractors=True)):
        name = f"{_published(shot)}_c{shot.camera}s1_{151 + 25 * at:06}_{shot.number:02}.jpg"
        world.put(f"{home}/{places[shot.role]}/{name}", shot)
    for who in TEST:
        for at in CAMERAS:
            for n in range(3):
                shot = Shot("multi_query", who, at, n)
                world.put(f"{home}/gt_bbox/{who:04}_c{at}s1_{who * 1000 + at * 10 + n:06}_00.jpg", shot)
    for n in range(5):
        world.put(f"{home}/images/{n:08}.jpg", Shot("gallery", 80 + n, 1 + n % 3, 0, DISTRACTOR))
    for below in places.values():
        world.write(f"{home}/{below}/Thumbs.db", b"no image")
    world.attributes(f"{home}/attributes.csv", (*TRAIN, *TEST))


def _duke(world: World, home: str) -> None:
    places = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    alone = [Shot("gallery", 60, at, n) for at in CAMERAS for n in (0, 1)]  # in the gallery without a query
    for at, shot in enumerate([*shots(), *alone]):
        name = f"{shot.person:04}_c{shot.camera}_f{46182 + at:07}.jpg"
        world.put(f"{home}/{places[shot.role]}/{name}", shot)


def _msmt17(world: World, variant: str) -> None:
    blurred = variant == "v2"
    home = "MSMT17_V2" if blurred else "MSMT17_V1"
    lists: dict[str, list[str]] = {"train": [], "val": [], "query": [], "gallery": []}
    for shot in shots():
        persons = TRAIN if shot.role == "train" else TEST
        number = persons.index(shot.person)  # from 0, in training and in test
        role = "val" if shot.role == "train" and shot.camera == 3 and shot.number else shot.role
        unique = 10 * list(lists).index(role) + shot.number
        image = f"{number:04}/{number:04}_{unique:03}_{shot.camera:02}_0303morning_{unique:04}_0.jpg"
        below = "train" if shot.role == "train" else "test"
        world.put(f"{home}/{f'mask_{below}_v2' if blurred else below}/{image}", shot)
        lists[role].append(f"{image} {number}")
    for role, lines in lists.items():
        world.write(f"{home}/list_{role}.txt", lines)


def _cuhk03_np(world: World, variant: str) -> None:
    places = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    for kind in ("labeled", "detected"):
        for at, shot in enumerate(shots()):
            name = f"{shot.person:04}_c{shot.camera}_{at}.png"
            if shot.camera < 3:
                world.put(f"cuhk03-np/{kind}/{places[shot.role]}/{name}", shot)


def _veri776(world: World, variant: str) -> None:
    places = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
    for at, shot in enumerate(shots()):
        name = f"{shot.person:04}_c{10 + shot.camera:03}_{16450 + at:08}_0.jpg"
        world.put(f"VeRi/{places[shot.role]}/{name}", shot)


def _vehicleid(world: World, variant: str) -> None:
    lists: dict[str, list[str]] = {"train_list": []}
    lists |= {f"test_list_{size}": [] for size in (800, 1600, 2400)}
    for at, shot in enumerate(shots(), start=137):
        world.put(f"VehicleID/image/{at:07}.jpg", shot)
        line = f"{at:07} {shot.person}"
        if shot.role == "train":
            lists["train_list"].append(line)
        for size, name in enumerate(("test_list_800", "test_list_1600", "test_list_2400"), start=2):
            if shot.person in TEST[:size]:
                lists[name].append(line)
    for name, lines in lists.items():
        world.write(f"VehicleID/train_test_split/{name}.txt", lines)


def _veriwild(world: World, variant: str) -> None:
    sizes = {"3000": TEST[:2], "5000": TEST[:3], "10000": TEST}
    lists: dict[str, list[str]] = {"train_list": []}
    lists |= {f"test_{size}{kind}": [] for size in sizes for kind in ("", "_query")}
    cameras = ["id/image;Camera ID;Time;Model;Type;Color"]
    for at, shot in enumerate(shots(), start=1):
        image = f"{shot.person:05}/{at:06}"
        world.put(f"VERI-Wild/images/{image}.jpg", shot)
        cameras.append(f"{image};{20 + shot.camera};2018-03-09 17:09:37;Santana;sedan;white")
        if shot.role == "train":
            lists["train_list"].append(image)
        for size, persons in sizes.items():
            # One query of each vehicle, as published.
            if shot.person in persons and (shot.role == "gallery" or shot.camera == 1):
                lists[f"test_{size}{'_query' if shot.role == 'query' else ''}"].append(image)
    for name, lines in lists.items():
        world.write(f"VERI-Wild/train_test_split/{name}.txt", lines)
    world.write("VERI-Wild/train_test_split/vehicle_info.txt", cameras)


def _in_groups(world: World, query: str, gallery: str, name: str) -> None:
    for role, below in (("query", query), ("gallery", gallery)):
        for who in TEST:
            for n in (1, 2, 3):
                path = f"{below}/{name.format(who=who, n=n)}"
                world.put(path, Shot(role, who, n, n, JUNK if role == "query" else ""))


def _partial_ilids(world: World, variant: str) -> None:
    for role, below in (("query", "Probe"), ("gallery", "Gallery")):
        for who in TEST:
            world.put(f"Partial_iLIDS/{below}/{who:03}.jpg", Shot(role, who, 1, 0))


def _folders(world: World, variant: str) -> None:
    for shot in shots(junk=True, distractors=True):
        name = _published(shot)
        n = shot.number + 10 * (shot.person if shot.mark else 0)
        world.put(f"{shot.role}/{name}/{name}_c{shot.camera}_{n:04}.png", shot)


def _table(world: World, variant: str) -> None:
    lines = ["path,identity,camera,role"]
    for at, shot in enumerate(shots(junk=True, distractors=True)):
        world.put(f"images/{at:04}.webp", shot)
        lines.append(f"images/{at:04}.webp,{shot.person},hall {shot.camera},{shot.mark or shot.role}")
    world.write("persons.csv", lines)


def _naic(world: World, variant: str) -> None:
    lines = []
    for at, shot in enumerate(shots(), start=10):
        if shot.role == "train":
            world.put(f"train_2020_fs/images/{at:08}.png", shot)
            lines.append(f"{at:08}.png:{shot.person}")
        else:
            world.put(f"image_B_v1_1/{shot.role}/{at:08}.png", shot)
    world.write("train_2020_fs/train_list.txt", lines)


WORLDS: dict[str, Callable[[World, str], None]] = {
    "naic": _naic,
    "market1501": _market1501,
    "dukemtmc": lambda world, _: _duke(world, "DukeMTMC-reID"),
    "occluded_duke": lambda world, _: _duke(world, "Occluded_Duke"),
    "msmt17": _msmt17,
    "cuhk03_np": _cuhk03_np,
    "veri776": _veri776,
    "vehicleid": _vehicleid,
    "veriwild": _veriwild,
    "partial_reid": lambda world, _: _in_groups(
        world, "Partial_REID/partial_body_images", "Partial_REID/whole_body_images", "{who:03}_{n}.jpg"
    ),
    "partial_ilids": _partial_ilids,
    "occluded_reid": lambda world, _: _in_groups(
        world,
        "Occluded_REID/occluded_body_images",
        "Occluded_REID/whole_body_images",
        "{who:03}/{who:03}_{n:02}.tif",
    ),
    "folders": _folders,
    "table": _table,
}
