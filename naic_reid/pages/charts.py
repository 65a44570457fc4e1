"""Drawings as SVG inside a page: they take its colours, light or dark, and equal numbers give equal bytes."""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from naic_reid.errors import extra

Line = tuple[Sequence[float], Sequence[float]]
"""Places and values."""

_INK, _SOFT, _LINE = "#010203", "#040506", "#070809"  # stand-ins that the page's colours take the place of
_SERIES = tuple(f"#{n:02x}{n + 1:02x}{n + 2:02x}" for n in range(0x10, 0x60, 0x10))
_COLOURS = {_INK: "var(--ink)", _SOFT: "var(--soft)", _LINE: "var(--line)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES, start=1)
}
_DASHES = ("-", "--", "-.", ":")
_SIZE = (4.6, 2.9)  # inches of 72 units


def lines(name: str, title: str, axes: tuple[str, str], series: Mapping[str, Line], **limits: Any) -> str:
    """Lines over whole numbers, with a legend.

    Args:
        name: of the drawing, different for each on a page.
        title: what it shows, for those who cannot see it.
        axes: their names.
        series: name → places and values.
        limits: of matplotlib's axes, such as `ylim`.
    """
    figure, axis = _axes(axes, limits, whole=True)
    for number, (label, (places, values)) in enumerate(series.items()):
        style = {"color": _SERIES[number % len(_SERIES)], "linestyle": _DASHES[number // len(_SERIES) % 4]}
        dot = {"marker": "o", "markersize": 3} if len(places) == 1 else {}
        axis.plot(places, values, label=label, linewidth=1.8, **style, **dot)
    return _finished(figure, axis, name, title)


def histograms(
    name: str, title: str, axes: tuple[str, str], edges: Sequence[float],
    series: Mapping[str, Sequence[float]], marks: Mapping[str, float],
) -> str:  # fmt: skip
    """Filled steps over common bins, and upright lines with a word at their head.

    Args:
        name: see `lines`.
        title: see `lines`.
        axes: see `lines`.
        edges: of the bins.
        series: name → height of each bin.
        marks: word → where its line stands.
    """
    figure, axis = _axes(axes, {"ylim": (0, 1.16 * max([*map(max, series.values()), 1e-9]))})
    for number, (label, heights) in enumerate(series.items()):
        colour = _SERIES[number]
        axis.stairs(heights, edges, fill=True, color=colour, alpha=0.35, linewidth=0)
        axis.stairs(heights, edges, color=colour, label=label, linewidth=1.5)
    top = axis.get_ylim()[1]
    for number, (word, place) in enumerate(marks.items()):
        axis.axvline(place, color=_SOFT, linewidth=1, linestyle=_DASHES[1 + number % 3])
        axis.text(place, top * (0.985 - 0.075 * number), f" {word}", color=_SOFT, fontsize=8.5, va="top")
    return _finished(figure, axis, name, title)


def _axes(names: tuple[str, str], limits: Mapping[str, Any], *, whole: bool = False) -> tuple[Any, Any]:
    """A drawing and its axes; `whole`: places are whole numbers."""
    with extra("plots", "the report"):
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    figure = Figure(figsize=_SIZE, layout="constrained")
    axis = figure.add_subplot()
    axis.set(xlabel=names[0], ylabel=names[1], **limits)
    axis.grid(color=_LINE, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(colors=_SOFT, labelsize=9, length=0)
    if whole:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    for side, spine in axis.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_LINE)
    for label in (axis.xaxis.label, axis.yaxis.label):
        label.set(color=_SOFT, fontsize=9.5)
    return figure, axis


def _finished(figure: Any, axis: Any, name: str, title: str) -> str:
    import matplotlib

    axis.legend(frameon=False, fontsize=9, labelcolor=_INK)
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        figure.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator")))
    return _embedded(out.getvalue(), name, title)


def _embedded(svg: str, name: str, title: str) -> str:
    """The drawing as a part of a page: its colours, its names apart from other drawings', a title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
                 rf'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" role="img" '
                 rf'aria-labelledby="{name}-title"><title id="{name}-title">{escape(title)}</title>',
                 svg, count=1)  # fmt: skip
    svg = re.sub(r"font: ([0-9.]+px) [^;\"]*", r"font-size: \1", svg)
    for stand_in, colour in _COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg.strip()


def shares(counts: Sequence[int]) -> list[float]:
    """Each count's share of all, in per cent."""
    total = max(1, sum(counts))
    return [100 * count / total for count in counts]


def merged(counts: Sequence[int], num: int) -> list[int]:
    """Neighbouring bins together until there are at most `num`."""
    step = -(-len(counts) // num)
    whole = np.zeros(step * -(-len(counts) // step), np.int64)
    whole[: len(counts)] = counts
    found: list[int] = whole.reshape(-1, step).sum(1).tolist()
    return found
