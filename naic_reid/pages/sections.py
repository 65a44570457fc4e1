"""A report as a list of sections, shown as text on a terminal or as one HTML page with its pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from naic_reid.pages.pictures import Image, thumbnail

_HEIGHT = 96  # pixels of a picture on the page

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ddd }
table { border-collapse: collapse }
th, td { padding: .15em .8em; text-align: right; border-bottom: 1px solid #eee }
th:first-child, td:first-child { text-align: left } td.text { text-align: left; font-family: monospace }
.strip { display: flex; flex-wrap: wrap; gap: .6em; margin: .6em 0; padding: .6em; background: #f6f6f6 }
figure { margin: 0; max-width: 11em } figcaption { font-size: 11px; overflow-wrap: anywhere }
"""


@dataclass(frozen=True)
class Picture:
    """An image, a file or uint8 [H, W, 3], and what stands below it."""

    image: Image
    caption: str


@dataclass(frozen=True)
class Section:
    """A table under a title; numbers are aligned right. Pictures come in strips and only on the page."""

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    note: str = ""
    strips: Sequence[Sequence[Picture]] = field(default_factory=tuple)


def as_text(sections: Iterable[Section]) -> str:
    """The sections as plain text."""
    return "\n\n".join(_text(section) for section in sections) + "\n"


def _text(section: Section) -> str:
    lines = [section.title, *([f"  {section.note}"] if section.note else [])]
    table = [[_cell(value) for value in row] for row in ([section.header] if section.rows else [])]
    table += [[_cell(value) for value in row] for row in section.rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    numeric = [all(isinstance(row[at], int | float) for row in section.rows) for at in range(len(widths))]
    for row in table:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def as_html(title: str, sections: Iterable[Section]) -> str:
    """The sections as one page that needs nothing else: pictures are part of it."""
    body = "\n".join(_html(section) for section in sections)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n{body}\n</html>\n"
    )


def _html(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.note:
        parts.append(f"<p>{escape(section.note)}</p>")
    if section.rows:
        head = "".join(f"<th>{escape(name)}</th>" for name in section.header)
        rows = "".join(f"<tr>{''.join(map(_html_cell, row))}</tr>\n" for row in section.rows)
        parts.append(f"<table>\n<tr>{head}</tr>\n{rows}</table>")
    parts += [f'<div class="strip">{"".join(map(_figure, strip))}</div>' for strip in section.strips]
    return "\n".join(parts)


def _html_cell(value: object) -> str:
    kind = "" if isinstance(value, int | float) else ' class="text"'
    return f"<td{kind}>{escape(_cell(value))}</td>"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _figure(picture: Picture) -> str:
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>"
    shown = thumbnail(picture.image, _HEIGHT)
    if shown is None:
        return f"<figure>(cannot be shown){caption}</figure>"
    size = f'width="{shown.width}" height="{shown.height}"'
    return f'<figure><img alt="" src="{shown.source}" {size}>{caption}</figure>'
