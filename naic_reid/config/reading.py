"""From YAML or JSON to settings, and from settings to an outline of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    create_model,
)

from naic_reid.config.config import Config
from naic_reid.config.section import Section, section_in, validated
from naic_reid.errors import ReidError
from naic_reid.files import regular


def load(path: Path) -> Config:
    """The config in a YAML file.

    Raises:
        ReidError: the file cannot be read, is not YAML, or has wrong settings; all of them are listed.
    """
    return parse(text_of(path), str(path))


def text_of(path: Path) -> str:
    """What a config's file says; raises `ReidError` where it cannot be read."""
    try:
        return regular(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReidError(f"{path}: cannot be read: {error}; name an existing config with --config") from error


def parse(text: str, name: str) -> Config:
    """The config in a YAML text; `name` is what errors call it."""
    if len(text) > _LONGEST:
        raise ReidError(f"{name}: not a config: {len(text):,} characters, and {_LONGEST:,} are plenty")
    from naic_reid.config import strict_yaml  # here: who brings sections of their own needs no YAML

    try:
        raw = strict_yaml.read(text)
    except ValueError as error:
        raise ReidError(f"{name}: not a config: {error}") from error
    except RecursionError as error:
        raise ReidError(f"{name}: not a config: its values are nested too deep") from error
    if not isinstance(raw, dict):
        raise ReidError(f"{name}: not a config: it must be a table of sections, such as `seed: 1234`")
    if "tests" not in raw:
        raw = {"split": {}, **raw}  # without a word about what is tested, it is the competition
    config: Config = validated(Config, raw, name)
    return config


def typed(annotations: Mapping[str, Any], raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Plain values as sections of the annotated types; `name` is what errors call them."""
    fields: dict[str, Any] = {key: (hint, ...) for key, hint in annotations.items()}
    whole = create_model("Settings", __base__=Section, **fields)
    checked = validated(whole, dict(raw), name)
    return {key: getattr(checked, key) for key in annotations}


def describe() -> str:
    """Every setting with its default and meaning, as an indented outline."""
    lines: list[str] = []
    _outline(Config, "", lines)
    return "\n".join(lines)


_LONGEST = 1_000_000  # characters; YAML takes a minute for ten million


def _outline(kind: type[BaseModel], indent: str, lines: list[str]) -> None:
    for name, info in kind.model_fields.items():
        inner = section_in(info.annotation)
        is_table = str(info.annotation).startswith(("dict", "typing.Annotated[dict", "tuple"))
        meaning = info.description or (inner.__doc__ or "").split("\n")[0]
        default = (
            "" if info.is_required() or inner else f" [{_shown(info.get_default(call_default_factory=True))}]"
        )
        lines.append(f"{indent}{info.alias or name}:{default}  {meaning}")
        if inner is not None:
            if is_table:
                lines.append(f"{indent}  (each entry)")
            _outline(inner, indent + ("    " if is_table else "  "), lines)


def _shown(value: Any) -> str:
    return json.dumps(value)
