"""JPEGs: odd ones are whole, damaged ones are not, and how much damage can be seen."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from naic_reid.data import huffman, images, jpeg
from tests.oracles import jpeg as oracle

Damage = Callable[[bytearray, np.random.Generator], None]


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Something like a photograph: smooth, with edges and some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 12 + 2, width // 12 + 2, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    smooth[height // 3 :, width // 2 :] //= 3
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def written(pixels: NDArray[np.uint8], mode: str = "RGB", **more: object) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(held, "JPEG", **more)
    return held.getvalue()


def hard(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Black and white dots of three pixels: nothing rings more."""
    dots = np.random.default_rng(seed).integers(0, 2, (height // 3 + 1, width // 3 + 1, 3), np.uint8) * 255
    return np.kron(dots, np.ones((3, 3, 1), np.uint8))[:height, :width]


def scan_at(content: bytes | bytearray) -> int:
    """Where the first scan's data begin, in a file without thumbnails."""
    at = content.index(b"\xff\xda")
    return at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def odd() -> dict[str, bytes]:
    """Files that are unusual and sound."""
    found: dict[str, bytes] = {}
    for height, width in ((8, 8), (9, 17), (64, 32), (65, 33), (127, 51), (16, 300)):
        pixels = picture(height, width)
        for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
            for progressive in (False, True):
                name = f"{height}×{width} {subsampling}{' progressive' * progressive}"
                more = {"subsampling": subsampling, "progressive": progressive}
                found[name] = written(pixels, quality=85, **more)
    pixels = picture(70, 45)
    for quality in (1, 2, 10, 40, 60, 75, 90, 96, 100):
        for progressive in (False, True):
            name = f"quality {quality}{' progressive' * progressive}"
            found[name] = written(pixels, quality=quality, progressive=progressive)
            found[f"dots, {name}"] = written(hard(70, 45, quality), quality=quality, progressive=progressive)
    for mode in ("L", "CMYK"):
        for progressive in (False, True):
            found[f"{mode}{' progressive' * progressive}"] = written(pixels, mode, progressive=progressive)
            found[f"{mode} restarts{' progressive' * progressive}"] = written(
                pixels, mode, progressive=progressive, restart_marker_blocks=3
            )
    for progressive in (False, True):
        for blocks in (1, 2, 7, 9, 200):
            found[f"restart after {blocks}{' progressive' * progressive}"] = written(
                pixels, progressive=progressive, restart_marker_blocks=blocks
            )
        found[f"restart by rows{' progressive' * progressive}"] = written(
            pixels, progressive=progressive, restart_marker_rows=1
        )
        found[f"own tables{' progressive' * progressive}"] = written(
            pixels, progressive=progressive, optimize=True
        )
        found[f"one colour{' progressive' * progressive}"] = written(
            np.full((64, 64, 3), 255, np.uint8), progressive=progressive, optimize=True
        )
    whole = written(pixels, quality=90)
    thumbnail = written(picture(40, 30))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a remark"
    end = len(whole) - 2
    found |= {
        "EXIF": written(pixels, exif=exif),
        "ICC profile": written(pixels, icc_profile=bytes(range(256)) * 300),
        "remark": written(pixels, comment="a remark with \u00ff"),
        "resolution": written(pixels, dpi=(300, 300)),
        "RGB kept": written(pixels, keep_rgb=True),
        "a thumbnail": whole[:2] + segment(0xE1, thumbnail) + whole[2:],
        "trailing zeros": whole + bytes(100),
        "a second image": whole + thumbnail,
        "trailing text": whole + b"\xff\xff\xdajust so\xff",
        "fill bytes before a marker": whole[:2] + b"\xff\xff\xff" + whole[2:],
        "fill bytes before the end": whole[:end] + b"\xff\xff" + whole[end:],
        "padded with zeros": padded(whole, 0),
        "padded with ones": padded(whole, 1),
        "an empty remark": whole[:2] + b"\xff\xfe\0\2" + whole[2:],
        "OpenCV": cv2.imencode(".jpg", pixels)[1].tobytes(),
        "OpenCV, restarts": cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[1].tobytes(),
        "channel by channel": channel_by_channel(),
        "a restart marker behind the last": channel_by_channel(behind=b"\xff\xd0"),
    }  # fmt: skip
    return found


def segment(code: int, body: bytes) -> bytes:
    return bytes((0xFF, code)) + (len(body) + 2).to_bytes(2, "big") + body


def padded(content: bytes, bit: int) -> bytes:
    """The file with other bits behind its last code."""
    data = content[scan_at(content) : -2]
    bits = oracle.Bits(data)
    for padding in range(7, -1, -1):
        changed = bits.text[: len(bits.text) - padding] + str(bit) * padding
        raw = int(changed, 2).to_bytes(len(changed) // 8, "big").replace(b"\xff", b"\xff\0")
        candidate = content[: scan_at(content)] + raw + content[-2:]
        try:
            oracle.coefficients(candidate)
        except ValueError:
            continue
        return candidate
    raise AssertionError


def channel_by_channel(behind: bytes = b"") -> bytes:
    """A scan for each of three channels, 24 × 16, grey: of each block the end alone."""

    one_code = bytes([1, *bytes(15), 0])  # 0: nothing
    frame = bytes((8, 0, 16, 0, 24, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0))
    scans = b"".join(
        segment(0xDA, bytes((1, name, 0, 0, 63, 0))) + bytes([0b00000000, 0b00001111]) + behind
        for name in (1, 2, 3)
    )
    return (
        b"\xff\xd8" + segment(0xDB, bytes([0, *[8] * 64])) + segment(0xC0, frame)
        + segment(0xC4, b"\0" + one_code) + segment(0xC4, b"\x10" + one_code)
        + segment(0xDD, bytes((0, 6 if behind else 0))) + scans + b"\xff\xd9"
    )  # fmt: skip


ODD = odd()


def test_there_are_a_hundred_odd_files() -> None:
    assert len({*ODD.values()}) >= 100


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_whole_and_becomes_what_opencv_makes_of_it(name: str) -> None:
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    expected = cv2.imdecode(np.frombuffer(ODD[name], np.uint8), flags)
    np.testing.assert_array_equal(images.checked(ODD[name]), expected)


@pytest.mark.real
def test_photographs_of_market_1501_are_whole() -> None:
    folder = Path(__file__).parents[3] / "shared" / "market_real"
    if not folder.is_dir():
        pytest.skip("the photographs (../shared/market_real) are not here")
    photographs = sorted(folder.glob("*/*.jpg"))
    assert len(photographs) > 1000
    for photograph in photographs:
        jpeg.check(photograph.read_bytes())


def refused(content: bytes) -> str:
    """What is said against a file; or nothing."""
    try:
        images.checked(content)
    except ValueError as error:
        return str(error)
    return ""


def _bit(content: bytearray, rng: np.random.Generator) -> None:
    content[rng.integers(scan_at(content), len(content) - 2)] ^= 1 << int(rng.integers(8))


def _byte(content: bytearray, rng: np.random.Generator) -> None:
    content[rng.integers(scan_at(content), len(content) - 2)] ^= int(rng.integers(1, 256))


def _cut(content: bytearray, rng: np.random.Generator) -> None:
    start, size = scan_at(content), len(content) - 2 - scan_at(content)
    at = start + int(rng.integers(size // 2))
    del content[at : at + size // 4]


def _zeros(content: bytearray, rng: np.random.Generator) -> None:
    start, size = scan_at(content), len(content) - 2 - scan_at(content)
    at = start + int(rng.integers(size * 3 // 4))
    content[at : at + size // 4] = bytes(size // 4)


def _noise(content: bytearray, rng: np.random.Generator) -> None:
    start, size = scan_at(content), len(content) - 2 - scan_at(content)
    at = start + int(rng.integers(size * 3 // 4))
    content[at : at + size // 4] = rng.bytes(size // 4)


@pytest.mark.parametrize(
    ("damage", "baseline", "progressive"),
    [(_bit, 0.2, 0.4), (_byte, 0.3, 0.6), (_cut, 0.98, 0.98), (_zeros, 0.98, 0.9), (_noise, 0.98, 0.98)],
    ids=["a bit", "a byte", "a quarter cut out", "a quarter zeroed", "a quarter of noise"],
)
def test_damage_is_seen_as_often_as_the_log_says(damage: Damage, baseline: float, progressive: float) -> None:
    """The shares that must be seen; what is measured stands in docs/log/faults.md."""
    rng = np.random.default_rng(5)
    for kind, share in ((False, baseline), (True, progressive)):
        seen = tries = 0
        for seed in range(10):
            whole = written(picture(128, 64, seed), quality=90, progressive=kind)
            for _ in range(20):
                content = bytearray(whole)
                damage(content, rng)
                tries += content != whole
                seen += refused(bytes(content)) != ""
        assert seen >= share * tries, (kind, seen, tries)


def test_baseline_scans_are_judged_as_by_their_definition() -> None:
    rng = np.random.default_rng(3)
    verdicts = set()
    for seed in range(6):
        more = {"restart_marker_blocks": 3} if seed % 2 else {"optimize": seed == 2}
        whole = written(picture(48, 40, seed), "L" if seed == 4 else "RGB", quality=95, **more)
        for _ in range(40):
            content = bytearray(whole)
            at = rng.integers(scan_at(content), len(content) - 2)
            if content[at - 1] == 0xFF or content[at] == 0xFF:
                continue  # markers are another matter
            content[at] = int(rng.integers(255))
            try:
                oracle.coefficients(bytes(content))
                broken = ""
            except ValueError as error:
                broken = str(error)
            found = refused(bytes(content))
            if broken:
                assert found, broken
            else:  # what no image holds is valid code all the same
                assert not found or re.search("no image has|throughout", found), found
            verdicts |= {broken, found}
    assert len(verdicts) > 6


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0", "4:1:1"])
def test_progressive_scans_add_up_to_the_coefficients_of_the_baseline_file(
    subsampling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[NDArray[np.int16]] = []
    monkeypatch.setattr(huffman, "within_range", lambda rows, steps: held.append(rows.copy()) or True)
    for restart in (0, 2):
        more = {"quality": 92, "subsampling": subsampling}
        if restart:
            more["restart_marker_blocks"] = restart
        pixels = picture(56, 48)
        held.clear()
        jpeg.check(written(pixels, progressive=True, **more))
        expected = oracle.coefficients(written(pixels, **more))
        assert [sorted(map(tuple, rows.tolist())) for rows in held] == [
            sorted(map(tuple, blocks)) for blocks in expected.values()
        ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c[:2] + c[c.index(b"\xff\xda"):], "a scan that is none"),
        (lambda c: c.replace(b"\xff\xc4", b"\xff\xfe", 2), "a scan without its code table"),
        (lambda c: c.replace(b"\xff\xdb", b"\xff\xfe"), "a channel without its quantisation"),
        (lambda c: c[: c.index(b"\xff\xda")] + c[-2:], "is a truncated JPEG"),
        (lambda c: c[:-2], "is a truncated JPEG"),
        (lambda c: c[:-2] + b"\0\0" + c[-2:], "go on after the image has ended"),
        (lambda c: c[:-20] + c[-2:], "end before the image does"),
        (lambda c: c[:-40] + bytes(38) + c[-2:], "its image data "),
        (lambda c: c[:2] + segment(0xC4, b"\0" + b"\xff" * 16 + bytes(255 * 16)) + c[2:],
         "a code table that is none"),
    ],
    ids=["no frame", "no tables", "no quantisation", "no scan", "no end", "bytes too many", "bytes too few",
         "zeros at the end", "a table of too many codes"],
)  # fmt: skip
def test_what_is_missing_is_named(change: Callable[[bytes], bytes], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        jpeg.check(change(written(picture(64, 48), quality=90)))


def test_a_restart_marker_that_is_missing_or_out_of_turn_is_seen() -> None:
    content = written(picture(64, 48), restart_marker_blocks=2)
    jpeg.check(content)
    for found in re.finditer(rb"\xff[\xd0-\xd7]", content):
        for other in (b"", b"\xff\xd7" if found[0] != b"\xff\xd7" else b"\xff\xd0"):
            with pytest.raises(ValueError, match="is a damaged JPEG: its image data"):
                jpeg.check(content[: found.start()] + other + content[found.end() :])


def test_what_is_remembered_of_heads_changes_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound files, and each with a byte changed anywhere, heads too: the short way and the long agree."""
    rng = np.random.default_rng(4)
    contents = []
    for content in list(odd().values())[::3]:
        contents.append(content)
        for _ in range(3):
            bent = bytearray(content)
            bent[rng.integers(2, len(bent))] ^= int(rng.integers(1, 256))
            contents += [bytes(bent), content[: rng.integers(2, len(content))]]

    def verdicts() -> list[str]:
        found = []
        for content in contents:
            try:
                jpeg.check(content)
                found.append("")
            except ValueError as error:
                found.append(str(error))
        return found

    quick = verdicts()
    sound = [jpeg._has_one_sound_scan(content) for content in contents]
    assert 20 < sum(sound) < len(contents) - 20
    monkeypatch.setattr(jpeg, "_has_one_sound_scan", lambda content: False)
    assert verdicts() == quick
