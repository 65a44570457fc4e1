"""The report's page in so many bytes: its pictures are as large as the rest leaves room for."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from naic_reid import pages
from naic_reid.config import Report
from naic_reid.pages import pictures
from naic_reid.pages.lists import Shown
from naic_reid.pages.looking import Looking
from naic_reid.pages.pictures import Album

_HEAT = 0.1  # of the room that pictures have
_FOUND = 0.1  # likewise, for pictures of what is wrong with training lists
_SMALL = 104  # pixels of height of these at most


def script(value: Any) -> str:
    """JSON that may stand in a page's script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # so that nothing in it ends the element


def fitted(content: dict[str, Any], shown: Shown, report: Report, looked: Looking | None, why: str) -> str:
    """The page.

    Args:
        content: what its template is filled with, but for lists and pictures.
        shown: the ranked lists.
        report: how large it may be.
        looked: where the network looked in some of the pictures; none: nobody knows.
        why: nobody knows; empty: it was not asked.
    """
    maps = looked.heats if looked else {}
    more = f"had no room in {report.megabytes:g} MB; report.megabytes in the config gives more."

    def page(album: Album, heats: Album, found: Album) -> str:
        notes = {
            f"The worst {shown.queries:,} of {shown.of:,} queries; report.queries in the config asks for "
            "more.": shown.queries < shown.of,
            f"{album.left_out:,} pictures {more}": album.left_out,
            f"{album.missing:,} images cannot be read any more, or are not what they were.": album.missing,
            f"{heats.left_out:,} heat maps {more}": heats.left_out,
            why: why,
        }
        of_found = {f"{found.left_out:,} pictures {more}": found.left_out}
        inside = {
            "lists": shown,
            "lists_json": script({"domains": shown.domains}),
            "lists_notes": [note for note, holds in notes.items() if holds],
            "found_pictures": found.pictures,
            "found_notes": [note for note, holds in of_found.items() if holds],
            "heat": looked.network if looked and maps else "",
            "heat_json": script(heats.pictures),
            "pictures_json": script(album.pictures),
        }
        return pages.rendered("report.html.j2", **content | inside)

    def room(found: Album) -> int:
        bare = page(Album({}, 10**6, 10**6), Album({}, 0, 10**6), found)
        return max(0, int(1e6 * report.megabytes) - len(bare.encode("utf-8", errors="replace")))

    most = room(Album({}, 0, 10**6))
    heats = pictures.chosen(maps, int(_HEAT * most))
    found = pictures.album(_numbered(content["findings"]), int(_FOUND * most), largest=_SMALL)
    used = len(script(heats.pictures))
    return page(pictures.album(shown.parts, room(found) - used), heats, found)


def _numbered(tables: Iterable[Mapping[str, Any]]) -> dict[str, pictures.Image]:
    """The pictures of all strips of tables, numbered from 0: each is inside as often as it is shown."""
    strips = (strip for table in tables for strip in table["strips"])
    images = (picture.image for strip in strips for picture in strip)
    return {str(number): image for number, image in enumerate(images)}
