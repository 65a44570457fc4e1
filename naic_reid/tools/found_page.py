"""What `find` found, as one page that needs nothing else: light and dark, for phone and desk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from naic_reid import files, pages
from naic_reid.pages.pictures import thumbnail

_HEIGHT = 320  # pixels of a picture, twice what is shown, for dense screens


class Hit(NamedTuple):
    """An image of the gallery that was found."""

    name: str
    similarity: float
    """Cosine with the photograph."""
    distance: float
    """What the order follows, smaller first: the re-ranked distance, or 1 − similarity."""
    same_file: bool


def write(
    path: Path, photos: Sequence[Sequence[Path]], answers: Sequence[Sequence[Hit]], *, gallery: Path,
    searched: int, model: str, order: str,
) -> None:  # fmt: skip
    """Write the page.

    Args:
        path: of the page.
        photos: those that were asked with, one or more for each answer.
        answers: what was found, best first.
        gallery: the folder that names are relative to.
        searched: images in it.
        model: what features were taken with.
        order: what the order follows, in words.
    """
    shown: list[dict[str, Any]] = []
    for number, (asked, hits) in enumerate(zip(photos, answers, strict=True), start=1):
        found = [
            {"hit": hit, "picture": thumbnail(gallery / hit.name, _HEIGHT, enlarge=False)} for hit in hits
        ]
        pictures = [
            {
                "name": photo.name,
                "path": str(photo),
                "picture": thumbnail(photo, _HEIGHT, enlarge=False),
            }
            for photo in asked
        ]
        shown.append({"id": f"asked-{number}", "asked": pictures, "found": found})
    page = pages.rendered(
        "found.html.j2", shown=shown, gallery=str(gallery), searched=searched, model=model, order=order
    )
    with files.whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", errors="replace")
