"""Pages that need nothing else: one file with its pictures and drawings, light and dark, phone and desk."""

from pathlib import Path
from typing import Any


def rendered(template: str, **content: Any) -> str:
    """The page of a template of this folder."""
    import jinja2  # here, for pictures alone need none

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    made = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True,
                              undefined=jinja2.StrictUndefined)  # fmt: skip
    return made.get_template(template).render(content)
