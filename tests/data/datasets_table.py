"""The tables of docs/datasets.md, made of what the layouts say; run as a module it rewrites them."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from naic_reid.data import layouts
from naic_reid.data.layouts import LAYOUTS, ROLES, Counts, Options
from naic_reid.data.worlds import drawn

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
_PLACE = re.compile(r"(<!-- (\w+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def page() -> str:
    """The page with its tables made anew."""
    tables = {"layouts": _layouts, "counts": _counts}
    return _PLACE.sub(lambda place: place[1] + tables[place[2]]() + place[3], PAGE.read_text("utf-8"))


def _layouts() -> str:
    rows = ["| layout | what must be there | a name or line | variants | protocol |", "|---|---|---|---|---|"]
    for name, layout in LAYOUTS.items():
        variants = ", ".join(f"`{variant}`" for variant in layout.variants if variant) or "–"
        rows.append(f"| `{name}` | {layout.expects} | `{layout.names}` | {variants} | `{layout.protocol}` |")
    return "\n".join(rows)


def _counts() -> str:
    rows = [
        "| data set | role | published: identities / images / cameras | drawn world: found |",
        "|---|---|---|---|",
    ]
    for name, layout in LAYOUTS.items():
        with TemporaryDirectory() as folder:
            drawn(name, Path(folder))
            for variant in layout.variants:
                found = layouts.counted(layouts.look(Path(folder), name, Options(variant)).rows)
                published = layout.published.get(variant, {})
                label = f"`{name}`" + (f" `{variant}`" if variant else "")
                rows += [
                    f"| {label} | {role} | {_told(published.get(role))} | {_told(found.get(role))} |"
                    for role in ROLES
                    if role in published or role in found
                ]
    return "\n".join(rows)


def _told(counts: Counts | None) -> str:
    """`751 / 12,936 / 6`, – for what nobody counted."""
    return " / ".join("–" if num is None else f"{num:,}" for num in counts) if counts else "–"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
