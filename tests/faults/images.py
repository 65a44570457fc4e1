"""Images that are damaged, odd, or not where they should be."""

import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from naic_reid.artifacts import read_table
from naic_reid.data import images
from naic_reid.data.records import Records
from tests.faults.case import Case
from tests.faults.world import DATA, Command, World, with_settings

PERSON = np.random.default_rng(5).integers(0, 255, (64, 32, 3), np.uint8)
QUERY = DATA / "image_B_v1_1" / "query"
REPLACED = "replaced: collect/images.tsv"


def _png(pixels: NDArray[np.generic]) -> bytes:
    done, content = cv2.imencode(".png", pixels)
    assert done
    return content.tobytes()


def _pillow(mode: str, format_: str, **more: object) -> bytes:
    held = io.BytesIO()
    Image.fromarray(PERSON).convert(mode).save(held, format_, **more)
    return held.getvalue()


def _jpeg() -> bytes:
    return _pillow("RGB", "JPEG", quality=95)


def _damaged(damage: Callable[[bytearray, int, int], None]) -> bytes:
    """A JPEG of whose scan, from one place to another, something was damaged."""
    content = bytearray(_jpeg())
    header = content.index(b"\xff\xda")
    damage(content, header + 14, len(content) - 2)
    return bytes(content)


def _invert(content: bytearray, start: int, end: int) -> None:
    content[(start + end) // 2] ^= 0xFF


def _cut(content: bytearray, start: int, end: int) -> None:
    del content[start + (end - start) // 3 : end - (end - start) // 3]


def _zero(content: bytearray, start: int, end: int) -> None:
    quarter = (end - start) // 4
    content[start + quarter : start + 2 * quarter] = bytes(quarter)


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _pillow("RGB", "JPEG", exif=exif)


def _bomb() -> bytes:
    """A header that promises 20,000 × 20,000 pixels, with a right checksum."""
    content = bytearray(_png(PERSON))
    content[16:24] = (20_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def victim(world: World) -> Path:
    """A listed training image, by its path in the data folder: the first of its list."""
    return DATA / Records.read(world.path("results/collect/images.tsv")).paths[0]


def _content(content: bytes) -> Callable[[World], None]:
    def plant(world: World) -> None:
        world.replace(victim(world), content)

    return plant


def _link_out(world: World) -> None:
    path = world.path(victim(world))
    outside = world.folder / "outside.png"
    path.rename(outside)
    path.symlink_to(outside)


def _folder(world: World) -> None:
    path = world.path(victim(world))
    path.unlink()
    path.mkdir()


def _three(world: World) -> None:
    names = list(dict.fromkeys(Records.read(world.path("results/collect/images.tsv")).paths))
    for name, content in zip(names[:3], (b"", _png(PERSON)[:-20], b"text"), strict=True):
        world.replace(DATA / name, content)


def _query(name: str, content: bytes) -> Callable[[World], None]:
    def plant(world: World) -> None:
        world.replace(QUERY / name, content)

    return plant


def _query_link(world: World) -> None:
    world.path(QUERY / "z.png").symlink_to("/etc/hostname")


def training(world: World) -> list[Command]:
    return [world.command("survey"), world.command("collect")]


def dropping(world: World) -> list[Command]:
    policy = {"unreadable": "drop"}
    return [
        world.command("survey"),
        with_settings(world.command("collect"), collect=policy),
        with_settings(world.command("dedupe"), collect=policy),
    ]


def testing(world: World) -> list[Command]:
    return [world.command("survey"), world.command("split")]


def _read_as_three_channels(world: World) -> None:
    assert images.read(world.path(victim(world))).shape == (64, 32, 3)
    assert Records.read(world.path("results/collect/images.tsv")).faults[0] == ""


def _in_the_table(world: World) -> None:
    from naic_reid.stages.dedupe import DROPPED_HEADER

    _, rows = read_table(world.path("results/dedupe/dropped.tsv"), "Dropped", DROPPED_HEADER)
    name = str(victim(world).relative_to(DATA))
    assert any(row[0] == name and row[3] == "unreadable" for row in rows)


def _refused(name: str, content: bytes, says: str) -> Case:
    return Case("Images", name, _content(content), training, says=rf"unusable images.*1 in all.*{says}")


def _taken(name: str, content: bytes, note: str) -> Case:
    return Case(
        "Images", name, _content(content), training, 0, leaves=REPLACED, note=note,
        check=_read_as_three_channels,
    )  # fmt: skip


CASES = [
    _refused("truncated PNG", _png(PERSON)[:-20], "truncated PNG"),
    _refused("truncated JPEG", _jpeg()[: len(_jpeg()) // 2], "truncated JPEG"),
    _refused("a JPEG with a byte inverted in its scan", _damaged(_invert), "is a damaged JPEG: its"),
    _refused("a JPEG with its middle cut out", _damaged(_cut), "is a damaged JPEG: its image data"),
    _refused("a JPEG with a quarter of zeros", _damaged(_zero), "is a damaged JPEG: its image data"),
    _refused("a flipped bit in a PNG", _png(PERSON)[:80] + b"\x00" + _png(PERSON)[81:], "wrong checksum"),
    _refused("zero bytes", b"", "is empty"),
    _refused("text named .png", b"no image at all", "neither PNG nor JPEG"),
    _refused("1 × 1 pixels", _png(PERSON[:1, :1]), "only 1 × 1 pixels"),
    _refused("header of 20,000 × 20,000 pixels", _bomb(), "20000 × 20000 pixels by its header"),
    _taken("16-bit PNG", _png(PERSON.astype(np.uint16) * 257), "goes on: the upper 8 bits"),
    _taken("greyscale", _pillow("L", "PNG"), "goes on: repeated three times"),
    _taken("palette", _pillow("P", "PNG"), "goes on: looked up"),
    _taken("RGBA", _pillow("RGBA", "PNG"), "goes on: alpha is dropped"),
    _taken("CMYK JPEG", _pillow("CMYK", "JPEG"), "goes on: converted"),
    _taken("EXIF-rotated JPEG", _rotated(), "goes on: pixels as stored, not turned"),
    _taken("JPEG named .png", _jpeg(), "goes on: the content decides"),
    Case("Images", "symbolic link out of the folder", _link_out, training, says="link that leaves"),
    Case("Images", "a folder named like an image", _folder, training, says="no such image"),
    Case("Images", "three bad images at once", _three, training, says="3 in all.*empty.*trunc.*neither"),
    Case(
        "Images", "truncated PNG, `collect.unreadable: drop`", _content(_png(PERSON)[:-20]), dropping, 0,
        leaves="replaced: collect/images.tsv, dedupe/counts.tsv, dedupe/dropped.tsv, dedupe/images.tsv",
        note="goes on without it; `dropped.tsv` says why", check=_in_the_table,
    ),
    Case("Images", "truncated query image", _query("z.png", _png(PERSON)[:-20]), testing,
         says="unusable test images.*z.png: is a truncated PNG", leaves="replaced: survey/test.tsv"),
    Case("Images", "query name with spaces and Unicode", _query("ä ö.png", _png(PERSON)), testing, 0,
         note="goes on", leaves="replaced: split/gallery_green.tsv, split/gallery_normal.tsv, "
         "split/means.tsv, split/query_green.tsv, split/query_normal.tsv, survey/test.tsv"),
    Case("Images", "query name with a newline", _query("a\nb.png", _png(PERSON)), testing,
         says=r"a\\nb.png': a control character in the name"),
    Case("Images", "query that is a link out of the folder", _query_link, testing,
         says="z.png': a symbolic link that leaves the folder"),
    Case("Images", "query that is a named pipe", lambda world: os.mkfifo(world.path(QUERY / "z.png")),
         testing, says="z.png': no regular file"),
    Case("Images", "query that is a circle of links",
         lambda world: world.path(QUERY / "z.png").symlink_to("z.png"), testing,
         says="z.png': a link to no file"),
]  # fmt: skip


def unreadable(world: World) -> None:
    """Take away the permission to read; root reads all the same, so this case runs as another user."""
    path = world.path(victim(world))
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    path.chmod(0)
