"""From YAML or JSON to settings, and from settings to an outline of them."""

import json
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
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
    try:
        text = regular(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReidError(f"{path}: cannot be read: {error}; name an existing config with --config") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Config:
    """The config in a YAML text; `name` is what errors call it."""
    if len(text) > _LONGEST:
        raise ReidError(f"{name}: not a config: {len(text):,} characters, and {_LONGEST:,} are plenty")
    try:
        raw = yaml.load(text, Loader=_Strict)
    except yaml.YAMLError as error:
        raise ReidError(f"{name}: not a config: {' '.join(str(error).split())}") from error
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
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")  # not 0777, 0x10, 1_000 or 1:30


class _Strict(yaml.SafeLoader):
    """YAML without the surprises: no repeated keys, no aliases, and numbers that are numbers."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"line {line}: aliases (*name) are not supported: write the values out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.YAMLError(
                    f"the key {key.value!r} stands twice, again on line {key.start_mark.line + 1}"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if node.style is None and node.tag == "tag:yaml.org,2002:int" and not _DECIMAL.fullmatch(node.value):
            line = node.start_mark.line + 1
            raise yaml.YAMLError(
                f"line {line}: YAML reads {value} as another number (octal, hexadecimal, base 60): "
                "write plain digits, or quote it"
            )
        if node.style is None and node.tag == "tag:yaml.org,2002:str" and _exponent_without_point(value):
            mantissa, exponent = value.lower().split("e")
            number = f"{float(mantissa)}e{exponent}"
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"line {line}: YAML reads {value} as text: write {number}")
        return value


def _exponent_without_point(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return "e" in value.lower()


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
