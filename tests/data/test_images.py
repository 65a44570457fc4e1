"""Images: what is accepted and what it becomes; what is refused and how it is named."""

import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from naic_reid.data import images
from naic_reid.errors import ReidError

Array = NDArray[np.uint8]
Decoder = Callable[[bytes], Array]
HEIGHT, WIDTH = 24, 12
BIT_16 = np.uint16
WAYS = pytest.mark.parametrize("way", [images.checked, images.decode])


def _picture(seed: int = 0) -> Array:
    """A smooth RGB image, so that JPEG keeps it nearly."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 3, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)


def _encoded(image: NDArray[np.generic], suffix: str = ".png", *flags: int) -> bytes:
    """The bytes of a file; three channels are RGB."""
    if image.ndim == 3:
        order = [2, 1, 0, 3][: image.shape[2]]
        image = image[:, :, order]
    ok, content = cv2.imencode(suffix, image, flags)
    assert ok
    return content.tobytes()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(height: int, width: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG written by hand, for what OpenCV does not write."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", head),
            *more,
            _chunk(b"IDAT", zlib.compress(rows)),
            _chunk(b"IEND", b""),
        )
    )


def _palette() -> tuple[bytes, Array]:
    index = np.random.default_rng(1).integers(0, 4, (HEIGHT, WIDTH), np.uint8)
    colours = np.array([(0, 0, 0), (255, 10, 20), (30, 255, 40), (50, 60, 255)], np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in index)
    return _png(HEIGHT, WIDTH, 8, 3, rows, _chunk(b"PLTE", colours.tobytes())), colours[index]


def _with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF segment that asks for a rotation, and carries a thumbnail with its own end."""
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff + b"\xff\xd8\xff\xd9"
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def _inverted_cmyk_jpeg() -> bytes:
    """A baseline JPEG of four components, grey all over, whose Adobe marker says CMYK."""
    quant = b"\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([1]) * 64
    frame = struct.pack(">BHHB", 8, 16, 16, 4) + b"".join(bytes((i, 0x11, 0)) for i in (1, 2, 3, 4))
    # One DC code (length 1, category 0) and one AC code (length 1, end of block): every block is 2 bits.
    table = bytes([1] + [0] * 15) + b"\0"
    scan = bytes([4]) + b"".join(bytes((i, 0)) for i in (1, 2, 3, 4)) + bytes((0, 63, 0))
    bits = "00" * 4 * 4  # four blocks of four components, all 128 after the level shift
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"".join(
        (
            b"\xff\xd8",
            b"\xff\xee" + struct.pack(">H", 14) + b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0),
            quant,
            b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame,
            b"\xff\xc4" + struct.pack(">H", len(table) + 3) + b"\x00" + table,
            b"\xff\xc4" + struct.pack(">H", len(table) + 3) + b"\x10" + table,
            b"\xff\xda" + struct.pack(">H", len(scan) + 2) + scan,
            data,
            b"\xff\xd9",
        )
    )


def test_a_png_is_read_exactly_and_in_the_order_red_green_blue(tmp_path: Path) -> None:
    picture = _picture()
    (tmp_path / "a.png").write_bytes(_encoded(picture))
    found = images.read(tmp_path / "a.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, picture)


def test_a_jpeg_is_read_under_any_name(tmp_path: Path) -> None:
    picture = _picture()
    (tmp_path / "a.png").write_bytes(_encoded(picture, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95))
    assert np.abs(images.read(tmp_path / "a.png").astype(int) - picture).mean() < 8


def test_grey_is_repeated_in_three_channels() -> None:
    grey = _picture()[:, :, 0]
    np.testing.assert_array_equal(images.decode(_encoded(grey)), np.dstack([grey] * 3))


def test_alpha_is_dropped() -> None:
    picture = _picture()
    alpha = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 1), np.uint8)
    np.testing.assert_array_equal(images.decode(_encoded(np.dstack([picture, alpha]))), picture)


def test_of_sixteen_bits_the_upper_eight_stay() -> None:
    picture = _picture()
    fine = picture.astype(BIT_16) * 256 + 77
    np.testing.assert_array_equal(images.decode(_encoded(fine)), picture)


def test_a_palette_is_looked_up() -> None:
    content, picture = _palette()
    np.testing.assert_array_equal(images.decode(content), picture)


def test_an_exif_rotation_is_ignored() -> None:
    jpeg = _encoded(_picture(), ".jpg")
    np.testing.assert_array_equal(images.decode(_with_orientation(jpeg, 6)), images.decode(jpeg))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_a_tiff_that_says_how_it_lies_stays_as_stored(order: str, orientation: int) -> None:
    picture, head = _picture(), 8 + 2 + 12 * 10 + 4
    tags = [
        (256, WIDTH),
        (257, HEIGHT),
        (258, 8),
        (259, 1),
        (262, 2),
        (273, head),
        (274, orientation),
        (277, 3),
    ]
    table = [struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in (*tags, (278, HEIGHT))]
    table.append(struct.pack(f"{order}HHII", 279, 4, 1, picture.size))
    begin = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(table))
    content = begin + b"".join(table) + bytes(4) + picture.tobytes()
    np.testing.assert_array_equal(images.checked(content), picture)


def test_a_file_of_more_bytes_than_a_picture_has_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    os.truncate(tmp_path / "a.png", images.MAX_BYTES + 1)
    assert "is a file of 268,435,457 bytes" in images.look(tmp_path / "a.png").fault


def test_a_bmp_of_os2_is_read() -> None:
    picture = _picture()[:, :8]
    data = picture[::-1, :, ::-1].tobytes()  # rows of a multiple of four bytes
    head = (
        b"BM" + struct.pack("<IHHI", 26 + len(data), 0, 0, 26) + struct.pack("<IHHHH", 12, 8, HEIGHT, 1, 24)
    )
    np.testing.assert_array_equal(images.checked(head + data), picture)


def test_a_cmyk_jpeg_becomes_three_channels() -> None:
    found = images.decode(_inverted_cmyk_jpeg())
    assert found.shape == (16, 16, 3)
    assert len(np.unique(found)) == 1


@WAYS
def test_a_progressive_jpeg_is_whole(way: Decoder) -> None:
    content = _encoded(_picture(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert way(content).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match="truncated JPEG"):
        way(content[:-2])


@WAYS
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_no_beginning_of_an_image_passes_for_the_whole(way: Decoder, suffix: str) -> None:
    content = _encoded(_picture(), suffix)
    for length in range(len(content)):
        with pytest.raises(ValueError, match=r"is "):
            way(content[:length])
    assert way(content).shape == (HEIGHT, WIDTH, 3)


@WAYS
def test_the_end_of_an_exif_thumbnail_does_not_pass_for_the_end_of_the_jpeg(way: Decoder) -> None:
    content = _with_orientation(_encoded(_picture(), ".jpg"), 1)
    with pytest.raises(ValueError, match="truncated JPEG"):
        way(content[:-2])


@WAYS
@pytest.mark.parametrize("more", [b"\xff", b"\xff\xff\xff", b"\xff\x00", b"\xff\xfe\0\4ab"])
def test_fill_bytes_and_comments_before_the_frame_of_a_jpeg_are_passed_over(
    way: Decoder, more: bytes
) -> None:
    content = _encoded(_picture(), ".jpg")
    np.testing.assert_array_equal(way(content[:2] + more + content[2:]), way(content))


def test_no_flipped_byte_of_a_png_goes_unnoticed_where_it_is_first_met() -> None:
    content = _encoded(_picture())
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"is |cannot"):
            images.checked(bytes(changed))


def test_what_is_met_again_has_the_pixels_it_had_or_is_refused() -> None:
    content = _encoded(_picture())
    refused = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        try:
            pixels = images.decode(bytes(changed))
        except ValueError:
            refused += 1
        else:  # a byte that holds no pixel: a checksum's or a name's
            np.testing.assert_array_equal(pixels, _picture())
    assert refused > 0.8 * len(content)


@WAYS
@given(st.binary(max_size=64), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]))
def test_arbitrary_bytes_are_refused_with_a_reason(way: Decoder, content: bytes, start: bytes) -> None:
    with pytest.raises(ValueError, match=r"is |cannot"):
        way(start + content)


def test_while_training_no_file_is_summed_up_or_searched_by_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_bytes(_encoded(_picture(), name[1:]))
        checked = images.checked((tmp_path / name).read_bytes())
        with monkeypatch.context() as patched:
            patched.setattr(zlib, "crc32", lambda *_: pytest.fail("summed up"))
            patched.setattr(re, "compile", lambda *_: pytest.fail("a regular expression"))
            patched.setattr(re, "search", lambda *_: pytest.fail("a regular expression"))
            np.testing.assert_array_equal(images.read(tmp_path / name), checked)
    assert not [name for name, value in vars(images).items() if isinstance(value, re.Pattern)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello, I am a text", "is neither PNG nor JPEG, BMP, TIFF or WebP: it begins with b'hello, I'"),
        (_png(20_000, 20_000, 8, 2, b""), "is 20000 × 20000 pixels by its header"),
        (_encoded(np.zeros((1, 1, 3), np.uint8)), "is only 1 × 1 pixels"),
        (_encoded(np.zeros((1, 1, 3), np.uint8), ".jpg"), "is only 1 × 1 pixels"),
        (_png(HEIGHT, WIDTH, 8, 2, b"too few rows"), "cannot be decoded"),
        (_encoded(_picture(), ".ppm"), "is neither PNG nor JPEG"),
    ],
    ids=["empty", "text", "bomb", "one pixel", "one pixel of JPEG", "few rows", "BMP"],
)
def test_what_is_no_usable_image_is_named_with_the_reason(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "a b ü\n.png"
    path.write_bytes(content)
    seen = images.look(path)
    assert reason in seen.fault
    assert seen.digest
    assert not seen.pixels
    with pytest.raises(ReidError) as caught:
        images.read(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


@WAYS
def test_a_huge_size_is_refused_before_anything_is_decoded(
    way: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="by its header"):
        way(_png(20_000, 20_000, 8, 2, b""))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReidError, match=r"none\.png: cannot be read: No such file"):
        images.read(tmp_path / "none.png")
    assert "cannot be read" in images.look(tmp_path / "none.png").fault
    assert images.look(tmp_path).fault


def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_encoded(_picture()))
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser reads everything
        assert not images.look(path).fault
    else:
        assert images.look(path).fault == "cannot be read: Permission denied"


def test_a_named_pipe_does_not_hold_us_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert images.look(tmp_path / "a.png").fault == "is not a regular file"


def test_a_look_is_what_the_obvious_reader_finds(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_encoded(_picture(3)))
    seen = images.look(path)
    blue_green_red = cv2.imread(str(path)).astype(np.float64)
    assert seen.means == tuple(blue_green_red.mean(axis=(0, 1)).tolist())
    assert (seen.height, seen.width, seen.fault) == (HEIGHT, WIDTH, "")


def test_means_are_exact_at_the_threshold(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_encoded(np.full((7 * 3, 11, 3), 65, np.uint8)))
    assert images.look(tmp_path / "a.png").means == (65.0, 65.0, 65.0)


def test_equal_pixels_in_other_bytes_have_one_pixel_hash_and_two_digests(tmp_path: Path) -> None:
    picture = _picture()
    (tmp_path / "a.png").write_bytes(_encoded(picture, ".png", cv2.IMWRITE_PNG_COMPRESSION, 1))
    (tmp_path / "b.png").write_bytes(_encoded(picture, ".png", cv2.IMWRITE_PNG_COMPRESSION, 9))
    first, second = images.look(tmp_path / "a.png"), images.look(tmp_path / "b.png")
    assert first.pixels == second.pixels
    assert first.digest != second.digest


def test_the_same_pixels_in_another_shape_are_another_image(tmp_path: Path) -> None:
    flat = np.full((16, 8, 3), 9, np.uint8)
    (tmp_path / "a.png").write_bytes(_encoded(flat))
    (tmp_path / "b.png").write_bytes(_encoded(flat.reshape(8, 16, 3)))
    assert images.look(tmp_path / "a.png").pixels != images.look(tmp_path / "b.png").pixels


def test_without_pixels_only_bytes_and_header_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_encoded(_picture()))
    whole = images.look(path)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    quick = images.look(path, with_pixels=False)
    assert (quick.digest, quick.height, quick.width) == (whole.digest, whole.height, whole.width)
    assert (quick.pixels, quick.fault) == (b"", "")


def test_the_scene_hash_survives_recompression_and_tells_other_scenes_apart(tmp_path: Path) -> None:
    def scene(name: str, content: bytes) -> int:
        (tmp_path / name).write_bytes(content)
        return images.look(tmp_path / name).scene

    large = np.asarray(cv2.resize(_picture(1), (64, 128), interpolation=cv2.INTER_CUBIC), np.uint8)
    original = scene("a.png", _encoded(large))
    again = scene("b.jpg", _encoded(large, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 70))
    smaller = scene("c.png", _encoded(np.asarray(cv2.resize(large, (48, 96)), np.uint8)))
    other = scene("d.png", _encoded(_picture(2)))
    assert (original ^ again).bit_count() <= 6
    assert (original ^ smaller).bit_count() <= 6
    assert (original ^ other).bit_count() > 12


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".tiff", ".webp"])
def test_bmp_tiff_and_webp_are_read(suffix: str, tmp_path: Path) -> None:
    flags = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()  # above 100: without loss
    path = tmp_path / f"a{suffix}"
    path.write_bytes(_encoded(_picture(), suffix, *flags))
    assert np.array_equal(images.read(path), _picture())
    assert images.header(path.read_bytes()) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".webp"])
def test_a_bmp_tiff_or_webp_that_lacks_its_end_is_refused(suffix: str) -> None:
    content = _encoded(_picture(), suffix)
    for cut in (len(content) - 1, len(content) // 2, 12, 5):
        with pytest.raises(ValueError, match=r"truncated|damaged|cannot be decoded|pixels"):
            images.decode(content[:cut])


def test_sizes_of_webp_and_big_endian_tiff_are_read_from_the_header() -> None:
    lossy = _encoded(_picture(), ".webp", cv2.IMWRITE_WEBP_QUALITY, 80)
    assert images.header(lossy) == (HEIGHT, WIDTH)
    tags = [(256, 3, 1, WIDTH << 16), (257, 3, 1, HEIGHT << 16), (273, 4, 1, 8), (279, 4, 1, 0)]
    table = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHII", *tag) for tag in tags)
    assert images.header(b"MM\0*" + struct.pack(">I", 8) + table) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("magic", [b"BM", b"RIFF", b"II*\0", b"MM\0*"])
@given(rest=st.binary(max_size=80))
def test_whatever_follows_a_magic_word_is_a_problem_and_no_crash(magic: bytes, rest: bytes) -> None:
    with pytest.raises(ValueError, match=r"truncated|damaged|cannot be decoded|pixels"):
        images.decode(magic + rest)
