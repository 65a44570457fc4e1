"""What all sections of the settings have in common: frozen, and strict with a sentence for every refusal."""

import difflib
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from naic_reid.errors import ReidError, listing

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, le=1e30)]  # single precision holds it
NotNegative = Annotated[float, Field(ge=0, le=1e30)]
Kept = Annotated[float, Field(ge=0.1, le=2)]
"""A share of a picture's rows that stay; above 1: all."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]

HOLDOUT = "holdout"


def _inside(path: str) -> str:
    """A path below the data folder in one spelling: a/b for a/b/, ./a/b and a//b."""
    plain = PurePosixPath(path)
    outside = plain.is_absolute() or ".." in plain.parts or "\\" in path or not path.isprintable()
    require(not outside, f"{path!r} leaves the data folder: give a path within it, written with /")
    return str(plain)


Inside = Annotated[str, AfterValidator(_inside)]
"""A path relative to the data folder, and below it."""


class Section(BaseModel):
    """A frozen group of settings that refuses what it does not know.

    Settings with `exclude_if` came later than others: while they are off, records do not name them, so
    that what was made before they existed still fits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


def validated(kind: type[BaseModel], raw: Any, name: str) -> Any:
    try:
        # Through JSON: YAML's lists become tuples, while 1 stays no bool and "3" no number.
        return kind.model_validate_json(json.dumps(raw), strict=True)
    except TypeError as error:
        raise ReidError(f"{name}: not a config: {error}") from error
    except ValidationError as error:
        problems = [_sentence(kind, problem) for problem in error.errors()]
        raise listing(problems, f"{name}: wrong settings") from error


def _sentence(kind: type[BaseModel], problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _keys_at(kind, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    message = problem["msg"].removeprefix("Value error, ")
    message = f"{key}: {message}" if key else message  # of several sections: it names them itself
    return message + ("" if problem["type"] == "value_error" else f", not {problem['input']!r}")


def _keys_at(kind: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    """The keys of the section at a dotted place, found by walking the annotations."""
    current: Any = kind
    for part in place:
        fields = _fields(current)
        if isinstance(part, str) and part in fields:
            current = section_in(fields[part])
    return sorted(_fields(current))


def _fields(kind: Any) -> dict[str, Any]:
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return {}
    return {info.alias or name: info.annotation for name, info in kind.model_fields.items()}


def section_in(annotation: Any) -> Any:
    """The section class inside an annotation such as `Loss | None` or `dict[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = section_in(inner)
        if found is not None:
            return found
    return None


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
