"""JSON objects with a record and a checksum."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from naic_reid import files
from naic_reid.artifacts.checks import damaged, unreadable
from naic_reid.artifacts.made_by import MadeBy, canonical


def write_json(path: Path, kind: str, made_by: MadeBy, content: Mapping[str, Any]) -> None:
    """A JSON object with the content's keys, its `type`, its record and, last, a checksum of them all."""
    whole_content = {"type": kind, **content, "made_by": json.loads(made_by.to_json())}
    checked = whole_content | {"checksum": checksum_of(whole_content)}
    with files.streamed(path) as stream:
        stream.write(json.dumps(checked, ensure_ascii=False).encode() + b"\n")


def read_json(path: Path, kind: str) -> tuple[MadeBy, dict[str, Any]]:
    """The record and the content of a file that `write_json` wrote; refused when a value differs."""
    try:
        content = files.json_in(path)
        checksum, written = content.pop("checksum"), content.pop("type")
        if written != kind:
            raise ValueError(f"it holds {written}")
        if checksum != checksum_of({"type": kind, **content}):
            raise ValueError("its checksum does not match its content")
        return MadeBy.from_json(canonical(content.pop("made_by"))), content
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, kind, error) from error
    except OSError as error:
        raise unreadable(path, error) from error


def checksum_of(content: Mapping[str, Any]) -> str:
    return blake2b(canonical(content).encode(), digest_size=16).hexdigest()
