"""YAML without the surprises: no repeated keys, no aliases, and numbers that are numbers."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")  # not 0777, 0x10, 1_000 or 1:30


def read(text: str) -> Any:
    """The values in a YAML text.

    Raises:
        ValueError: it is no YAML, or has one of the surprises.
    """
    try:
        return yaml.load(text, Loader=_Strict)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


class _Strict(yaml.SafeLoader):
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
